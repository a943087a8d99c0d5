"""The independent check of a store's bound, itself checked."""

from __future__ import annotations

import shutil

import check_bound
import numpy as np
import pytest
import zarr
from scipy.special import rel_entr, softmax
from tiny import command


def check(capsys, *words) -> tuple[int, list[str]]:
    """Exit code and lines."""
    with pytest.raises(SystemExit) as ended:
        check_bound.main([str(word) for word in words])
    return ended.value.code, capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("tau", check_bound.TAUS)
def test_the_kl_is_that_of_another_library(tau):
    random = np.random.default_rng(0)
    logits = random.normal(0, 5, (50, 7))
    decoded = logits + random.uniform(-0.3, 0.3, logits.shape)
    expected = rel_entr(softmax(logits / tau, axis=1), softmax(decoded / tau, axis=1)).sum(axis=1)
    np.testing.assert_allclose(check_bound.kl_rows(logits, decoded, tau), expected, rtol=1e-6, atol=1e-15)


def test_a_run_is_within_its_bound_by_its_own_teacher(finished_run, capsys):
    code, lines = check(capsys, finished_run.out / "store.zarr", "--recipe", finished_run.recipe)
    assert code == 0
    assert len(lines) == 2 * len(check_bound.TAUS)
    assert all(line.endswith("within") for line in lines)
    assert lines[-1].startswith("train/big (360 rows)")


def test_another_teacher_is_above_the_bound(finished_run, capsys, tmp_path):
    shutil.copytree(finished_run.out / "store.zarr", tmp_path / "store.zarr")
    text = finished_run.recipe.read_text()
    recipe = tmp_path / "other.toml"
    recipe.write_text(text.replace("learning_rate = 0.05 }", "learning_rate = 0.05, seed = 1 }"))
    assert command("cache", recipe, "--out", tmp_path / "made", "--device", "cpu").code == 0
    shutil.copytree(tmp_path / "made/teachers", tmp_path / "teachers")
    code, lines = check(capsys, tmp_path / "store.zarr", "--recipe", recipe)
    assert code == 1
    assert lines[0].endswith("ABOVE")


@pytest.fixture
def imported(tmp_path):
    logits = np.random.default_rng(0).normal(0, 4, (2, 100, 5)).astype(np.float32)
    np.save(tmp_path / "logits.npy", logits)
    words = ["--teacher", "t", "--max-kl", "1e-2", "--block", "64"]
    assert command("import", tmp_path / "logits.npy", tmp_path / "s.zarr", *words).code == 0
    return tmp_path


def test_an_import_is_within_its_bound_by_its_file(imported, capsys):
    code, lines = check(capsys, imported / "s.zarr", "--logits", imported / "logits.npy")
    assert code == 0
    assert [line.split()[-1] for line in lines] == ["within"] * 5
    largest, bound = (float(lines[1].split(word)[1].split()[0]) for word in ("largest KL", "bound"))
    assert 0.1 * bound < largest <= bound <= 1e-2, "the bound is not far from what is reached"


@pytest.mark.parametrize("row", [0, 70, 99])
def test_one_wrong_row_is_seen(imported, capsys, row):
    logits = np.load(imported / "logits.npy")
    step = float(zarr.open_array(imported / "s.zarr/train/teachers/t/logits", mode="r").attrs["scale_factor"])
    logits[1, row, 2] += 8 * step
    np.save(imported / "logits.npy", logits)
    code, lines = check(capsys, imported / "s.zarr", "--logits", imported / "logits.npy")
    assert code == 1
    assert "ABOVE" in "".join(lines)
