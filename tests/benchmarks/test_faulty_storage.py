"""A run whose store is on a server that fails, and whose writer is killed, ends as on disk; what does not is found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import faulty_storage
import pytest
from faulty_storage import Site, differences
from object_server import SECRETS, WAYS
from tiny import RECIPE

SMALL = RECIPE.split("[timing]", maxsplit=1)[0].replace("[0, 1]", "[0]").replace("epochs = 2", "epochs = 1")
SMALL = SMALL.replace("count = 2", "count = 1").replace('["ce", ', "[").replace("samples = 60", "samples = 30")


@pytest.fixture(scope="module")
def site(tmp_path_factory, object_server):
    """One whose run on disk is done."""
    made = Site(tmp_path_factory.mktemp("faulty"), object_server, SMALL)
    assert set(made.run_on_disk()) == {"cache", "distill", "stats"}
    return made


@pytest.mark.parametrize("rates", [*({way: 0.1} for way in WAYS), dict.fromkeys(WAYS, 0.1)], ids=[*WAYS, "all"])
def test_a_run_ends_as_on_disk_whatever_fails(site, s3, rates):
    outcome = site.run("_".join(rates), rates, seed=0)
    assert outcome.differing == ()
    assert outcome.told == ()
    assert set(outcome.failed) == set(rates)
    assert 0 < outcome.killed_at < outcome.objects < outcome.compared
    assert sum(outcome.failed.values()) < outcome.requests


def test_what_comes_out_different_or_tells_a_credential_is_found(site, tmp_path):
    copy = Site.__new__(Site)
    copy._folder = tmp_path
    known = site._left(site.disk, {"a": "1"})
    shutil.copytree(site.disk, tmp_path / "odd")
    assert list(copy._told("odd")) == []
    assert copy._left(tmp_path / "odd", {"a": "1"}) == known
    measured, weights = (next((tmp_path / "odd").rglob(name)) for name in ("statistics/*.csv", "model.safetensors"))
    for path in (measured, weights):
        path.write_bytes(path.read_bytes() + b"0")
    names = [f"statistics/{measured.name}", "store/a", f"{weights.parent.name}/model.safetensors"]
    assert differences(known, copy._left(tmp_path / "odd", {"a": "2"})) == sorted(names)
    (tmp_path / "odd_cache.log").write_text("PUT with " + SECRETS["AWS_SECRET_ACCESS_KEY"])
    (tmp_path / "odd" / "note.json").write_text(SECRETS["AWS_ACCESS_KEY_ID"])
    assert sorted(copy._told("odd")) == ["odd/note.json", "odd_cache.log"]


def test_a_difference_or_a_credential_is_the_exit_code(tmp_path, monkeypatch, capsys):
    outcome = faulty_storage.Outcome("cut", 9, {"cut": 1}, 5, 2, 7, (), (), {"cache": 1.0})
    for differing, told, code in (((), (), 0), (("store/a",), (), 1), ((), ("cut_cache.log",), 1)):
        found = replace(outcome, differing=differing, told=told)
        monkeypatch.setattr(faulty_storage, "measure", lambda *_, found=found: iter([found]))
        with pytest.raises(SystemExit) as ended:
            faulty_storage.main(["--ways", "cut", "--result", str(tmp_path / "out/f.json")])
        assert ended.value.code == code
        [run] = json.loads((tmp_path / "out/f.json").read_text())["runs"]
        assert (run["differing"], run["told"], run["failed"]) == ([*differing], [*told], {"cut": 1})
        assert "1 of 9 requests failed (cut 1)" in capsys.readouterr().out
