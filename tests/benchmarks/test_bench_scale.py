"""The run of many rows, at its smallest: it comes out whole, goes on where it was interrupted, sees what is wrong."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import bench_scale
import pytest
import scale_measured
import scale_reading
import scale_stages
import scale_teacher
import torch
from forked import run_forked
from scale_options import Scale, adopt

from logitcache.errors import CheckError
from logitcache.soft_targets import CachedStream
from logitcache.store import EncodingOptions

SMALL = Scale(samples=300, views=3, classes=24, block=10)
WORDS = ["--rows", "1203", "--views", "3", "--classes", "24", "--block", "10", "--keep"]
PROGRAM = f"""
import sys
sys.path.append({str(Path(bench_scale.__file__).parent)!r})
import scale_stages
scale_stages.main(sys.argv[1:])
"""


class Started:
    """Stages in forks of a process that has loaded everything; it is interrupted before one of them."""

    def __init__(self, interrupted: str, log: Path) -> None:
        self.names: list[str] = []
        self._interrupted, self._log = interrupted, log

    def __call__(self, folder: Path, name: str) -> int:
        if name == self._interrupted and name not in self.names:
            self.names.append(name)
            raise KeyboardInterrupt
        self.names.append(name)
        return run_forked(PROGRAM, name, folder, log=self._log)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run that was interrupted once: its folder, the stages that were started, its results."""
    folder = tmp_path_factory.mktemp("scale")
    started = Started("resume", folder / "log")
    words = [*WORDS, "--scratch", str(folder / "run"), "--out", str(folder / "results/out.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_scale, "start", started)
        with pytest.raises(KeyboardInterrupt):
            bench_scale.main(words)
        bench_scale.main(words)
    text = (folder / "results/out.json").read_text()
    return folder / "run", started.names, text


def work_on(folder: Path, scale: Scale = SMALL) -> scale_stages.Work:
    """What a stage is given."""
    return scale_stages.Work(folder, scale, scale_teacher.make_split(scale), scale_measured.Report(folder / "x.json"))


def damaged(run, tmp_path: Path, change) -> scale_stages.Work:
    """A copy of the run in whose array of logits something was changed."""
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    [commits] = folder.glob("store.zarr/train/teachers/bank/*/commits")
    change(commits.parent)
    return work_on(folder)


def test_what_was_finished_before_the_interruption_is_not_done_again(run):
    _, names, _ = run
    assert names == ["prepare", "cache", "plan", "resume", "resume", "again", "verify", "read", "stats"]


def test_the_run_is_killed_near_its_end_and_goes_on_from_there(run):
    stages = json.loads(run[2])["stages"]
    assert stages["cache"]["processes"] == 1
    assert 0.99 * SMALL.rows <= stages["cache"]["rows"] <= SMALL.rows
    assert stages["plan"]["blocks"] == 120
    assert 0.9 * 120 <= stages["plan"]["committed"] == stages["resume"]["found"] < 120
    assert stages["resume"]["written"] == 120 - stages["resume"]["found"]
    assert 0 < stages["resume"]["scan_seconds"] < stages["resume"]["seconds"]
    assert stages["again"]["found"] == 120


def test_every_row_is_stored_read_in_windows_and_measured(run):
    results = json.loads(run[2])
    stages, store = results["stages"], results["store"]
    assert results["scale"]["rows"] == stages["verify"]["rows"] == 1200
    assert stages["verify"]["blocks"] == 120
    assert 0 < stages["verify"]["bytes"] < store["bytes"]
    assert store["bytes_per_row"] == store["bytes"] / 1200
    assert stages["read"]["rows"] == 600
    assert stages["read"]["compared_rows"] == 600, "an epoch this small is one batch"
    assert 1 <= stages["read"]["window_blocks"] < 30
    assert 0 < stages["read"]["largest_kl"] <= 1e-3
    assert 0 < stages["verify"]["largest_kl"]["1.0"] <= 1e-3
    assert {"moments", "tau", "topk", "covariance", "agreement"} <= set(stages["stats"]["measures"])


def test_the_results_say_what_was_measured_and_name_no_folder(run):
    folder, _, text = run
    results = json.loads(text)
    assert str(folder) not in text
    assert set(results) == {"machine", "versions", "command", "scale", "seconds", "store", "stages"}
    assert results["command"] == (
        "python benchmarks/bench_scale.py --rows 1200 --views 3 --classes 24 --encoding auto --max-kl 0.001 "
        "--block 10 --epochs 2"
    )
    for name, each in results["stages"].items():
        assert each["peak_bytes"] >= each["loaded_bytes"] > 1e7, name
        assert each["seconds"] > 0 <= each["cpu_seconds"]
        assert name == "prepare" or each["rows_per_second"] == each["rows"] / each["seconds"]
    assert results["seconds"] >= sum(each["seconds"] for each in results["stages"].values())


def test_the_table_has_a_line_for_each_stage_and_one_for_the_store(run):
    lines = bench_scale.table(json.loads(run[2])).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [name for name in bench_scale.STAGES if name != "prepare"]
    assert lines[-1].startswith("1,200 rows of 24 classes: ")


def test_both_lists_of_stages_are_the_same():
    assert list(scale_stages.STAGES) == list(bench_scale.STAGES)


def test_a_run_of_another_size_and_strange_files_are_refused(run, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="has other files"):
        adopt(tmp_path, SMALL)
    with pytest.raises(ValueError, match="is of another run"):
        adopt(run[0], replace(SMALL, block=20))
    adopt(run[0], SMALL)


def test_the_store_is_removed_unless_it_is_to_be_kept(run, tmp_path, monkeypatch):
    shutil.copytree(run[0], tmp_path / "run")
    monkeypatch.setattr(bench_scale, "start", None)  # nothing is left to start
    words = [*WORDS, "--scratch", str(tmp_path / "run"), "--out", str(tmp_path / "out.json")]
    bench_scale.main(words)
    assert (tmp_path / "run").exists()
    bench_scale.main([word for word in words if word != "--keep"])
    assert not (tmp_path / "run").exists()
    assert json.loads((tmp_path / "out.json").read_text())["stages"] == json.loads(run[2])["stages"]


@pytest.mark.parametrize("code", [1, -signal.SIGKILL])
def test_a_stage_that_wrote_nothing_ends_the_run(tmp_path, monkeypatch, code):
    monkeypatch.setattr(bench_scale, "start", lambda folder, name: code)
    with pytest.raises(SystemExit, match=f"stage verify ended with exit code {code}; the same command goes on"):
        bench_scale.stage(tmp_path, "verify")


def test_a_flipped_bit_is_found(run, tmp_path):
    def flip(logits: Path) -> None:
        shard = next(path for path in sorted((logits / "c/2").rglob("*")) if path.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)

    with pytest.raises(CheckError, match=r"1 findings: .*other bytes than were committed"):
        scale_stages.check(damaged(run, tmp_path, flip))


def test_a_store_without_anything_left_is_no_store_that_was_killed(run):
    with pytest.raises(CheckError, match="120 of 120 blocks are there after the kill"):
        scale_stages.plan(work_on(run[0]))


def test_a_block_that_is_missing_when_all_was_done_is_noticed(run, tmp_path):
    work = damaged(run, tmp_path, lambda logits: next(logits.glob("commits/3*.json")).unlink())
    with pytest.raises(CheckError, match="30 blocks were written and 300 rows computed"):
        scale_stages.again(work)


def test_logits_of_other_rows_are_noticed(run, monkeypatch):
    work = work_on(run[0])
    bank = work.teacher.network.core.bank
    bank.copy_(bank.roll(1, dims=0))
    with pytest.raises(CheckError, match=r"from the teacher's, promised is 0\.001"):
        scale_stages.read(work)
    with pytest.raises(CheckError, match="the measured accuracy is"):
        scale_stages.stats(work)


@pytest.mark.parametrize(
    ("repeated", "message"), [(0, "300 rows never came in an epoch"), (2, "a row came twice in one epoch")]
)
def test_epochs_without_rows_or_with_rows_that_come_again_are_noticed(run, monkeypatch, repeated, message):
    class Odd(CachedStream):
        def __iter__(self):
            return iter(list(super().__iter__()) * repeated)

    monkeypatch.setattr(scale_reading, "CachedStream", Odd)
    with pytest.raises(CheckError, match=message):
        scale_stages.read(work_on(run[0]))


def test_what_fits_in_memory_is_not_read_in_windows(run, monkeypatch):
    monkeypatch.setattr(Scale, "memory", 1 << 20)
    with pytest.raises(CheckError, match="a view fits in 1048576 bytes"):
        scale_stages.read(work_on(run[0]))


def test_rows_that_come_twice_or_never_are_noticed():
    seen = scale_reading.RowsSeen(6)
    seen.add(torch.tensor([4, 0, 1]))
    with pytest.raises(CheckError, match="begins with row 2"):
        seen.add(torch.tensor([2, 4]))
    with pytest.raises(CheckError, match="begins with row 3"):
        seen.add(torch.tensor([3, 3]))
    seen.add(torch.tensor([5, 2]))
    with pytest.raises(CheckError, match="1 rows never came in an epoch, the first of them row 3"):
        seen.finish()
    seen.add(torch.tensor([3]))
    seen.finish()


def test_processes_that_were_killed_count_as_far_as_they_wrote(tmp_path):
    for rows in (30, 12):
        attempt = scale_measured.Attempts(tmp_path / "a.jsonl", 100)
        attempt.add(rows - 10)
        attempt.keep()
        attempt.add(10)
        attempt.keep()
    lines = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "a.jsonl").write_text(lines + '{"process": 3, "ro')
    last = scale_measured.Attempts(tmp_path / "a.jsonl", 100)
    last.add(7)
    found = last.figures()
    assert (found["rows"], found["processes"]) == (49, 3)
    assert found["seconds"] > 0 < found["peak_bytes"]
    last.keep()
    assert scale_measured.Attempts(tmp_path / "a.jsonl", 100).figures()["rows"] == 49


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "50"], "rows = 48: at least 100"),
        (["--views", "0"], "views = 0: from 1 to 50"),
        (["--classes", "1"], "classes = 1: from 2"),
        (["--encoding", "topk"], "encoding = topk: allowed are auto"),
        (["--max-kl", "0"], "max_kl = 0: above 0"),
        (["--epochs", "0"], "epochs = 0: at least 1"),
    ],
)
def test_sizes_that_cannot_be_run_are_refused(words, message, capsys):
    with pytest.raises(SystemExit):
        bench_scale.parse(words)
    assert message in capsys.readouterr().err


def test_twenty_million_rows_with_the_promise_of_recipes_are_the_default():
    _, scale = bench_scale.parse([])
    assert (scale.rows, scale.samples, scale.classes) == (20_498_672, 1_281_167, 1000)
    assert scale.max_kl == EncodingOptions().max_kl
    assert EncodingOptions().tau_min == 1
