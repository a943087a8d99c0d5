"""Workers with tasks are killed, what comes out different is found, and a small run comes out the same."""

from __future__ import annotations

import json
import signal
import time
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import kill_cluster
import pytest
from kill_cluster import Job, Whole
from kill_workers import Killer, Sent
from tiny import RECIPE, command


@pytest.fixture
def victims(monkeypatch):
    """The processes that were sent SIGKILL, in their order; none really is."""
    found: list[int] = []
    monkeypatch.setattr(
        "kill_workers.os.kill", lambda pid, number: found.append(pid) if number == signal.SIGKILL else None
    )
    return found


def scheduler(*busy: bool) -> SimpleNamespace:
    """One whose workers have tasks, or none."""
    workers = {f"tcp://{n}": SimpleNamespace(name=n, pid=100 + n, processing={"x": 1} if b else {}) for n, b in
               enumerate(busy)}  # fmt: skip
    return SimpleNamespace(
        workers=workers, address="tcp://here:1", add_plugin=lambda *_, **__: None, remove_plugin=lambda _: None
    )


def await_kills(victims: list[int], number: int) -> None:
    until = time.monotonic() + 20
    while len(victims) < number:
        assert time.monotonic() < until, victims
        time.sleep(0.001)


def test_workers_with_tasks_are_killed_once_and_idle_ones_are_waited_for(victims):
    cluster = scheduler(True, False, True)
    with Killer(cluster, 0.001, 9, "0") as killer:
        await_kills(victims, 2)
        cluster.workers["tcp://1"].processing["x"] = 1
        await_kills(victims, 3)
    assert sorted(victims[:2]) == [100, 102]
    assert victims[2] == 101
    assert killer.kills == 3


def test_a_seed_names_the_victims_and_no_more_are_killed_than_asked_for(victims):
    for seed in (1, 1, 2, 3, 4):
        with Killer(scheduler(*[True] * 6), 0.001, 4, str(seed)) as killer:
            killer.join()
        assert killer.kills == 4
    first, again, *others = (victims[start : start + 4] for start in range(0, 20, 4))
    assert first == again
    assert any(other != first for other in others)


def test_tasks_that_are_given_to_another_worker_are_counted():
    sent = Sent()
    for key, start, finish in (
        ("a", "waiting", "processing"),
        ("b", "waiting", "processing"),
        ("a", "processing", "released"),
        ("a", "waiting", "processing"),
        ("a", "processing", "memory"),
        ("b", "processing", "memory"),
        ("b", "released", "processing"),
        ("b", "released", "processing"),
    ):
        sent.transition(key, start, finish, stimulus_id="x")
    assert (sent.tasks, sent.again) == (2, 3)


def test_all_that_a_sweep_leaves_is_compared_but_seconds(run_copy):
    known = kill_cluster.students_of(run_copy.out)
    table = run_copy.out / "results.csv"
    text = table.read_text()
    seconds = text.splitlines()[1].split(",")[text.splitlines()[0].split(",").index("train_seconds")]
    table.write_text(text.replace(seconds, "99.5"))
    assert kill_cluster.students_of(run_copy.out) == known
    table.write_text(text.replace(",done,", ",failed,", 1))
    weights = next(run_copy.out.glob("students/*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    run_id = weights.parent.name
    changed = kill_cluster.differences(known, kill_cluster.students_of(run_copy.out))
    assert f"{run_id}/model.safetensors" in changed
    assert [name.startswith("results.csv ") for name in changed] == [False, True]


def test_a_command_is_begun_anew_until_enough_were_killed_and_differences_are_found(victims, tmp_path, monkeypatch):
    cluster, runs = scheduler(True, True, True), []

    def run_command(words):
        assert words[-2:] == ["--scheduler", "tcp://here:1"]
        runs.append(Path(words[words.index("--out") + 1]))
        (runs[-1] / "result").write_text(str(len(runs)))
        await_kills(victims, min(3, 2 * len(runs)))

    def what(out):
        return {"result": (out / "result").read_text(), "same": "x"}

    monkeypatch.setattr(kill_cluster, "run_command", run_command)
    job = Job("cache", tmp_path / "r.toml", Path.mkdir, what)
    monkeypatch.setattr(kill_cluster, "Killer", lambda *words: Killer(words[0], 0.001, min(words[2], 2), words[3]))
    whole = Whole({"result": "1", "same": "x"}, 1.0)
    stage = kill_cluster.killed(job, whole, cluster, Namespace(kills=3, every=1, seed=0))
    assert (stage.kills, stage.finished, stage.compared) == (3, 2, 2)
    assert stage.differing == ("result",)
    assert not any(out.exists() for out in runs)


def test_a_command_that_ends_before_a_worker_was_killed_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_cluster, "run_command", lambda words: None)
    job = Job("cache", tmp_path / "r.toml", Path.mkdir, lambda out: {})
    with pytest.raises(SystemExit, match="give it more to do"):
        kill_cluster.killed(job, Whole({}, 1.0), scheduler(False), Namespace(kills=1, every=9.0, seed=0))


def test_a_small_one_comes_out_the_same(finished_run, tmp_path, monkeypatch, quick_workers):
    teach = "teach = {{ epochs = 2, batch = 20, learning_rate = 0.05 }}"
    taught = RECIPE.replace(teach, f'checkpoint = "{finished_run.out}/teachers/big.safetensors"')
    text = taught.replace("block = 50", "block = 20").format(folder=finished_run.recipe.parent)
    assert "teach =" not in text

    def write(folder, options):
        (folder / "kill.toml").write_text(text)
        return folder / "kill.toml"

    monkeypatch.setattr(kill_cluster, "write_recipe", write)

    def run_command(words):
        answer = command(*words)
        assert answer.code == 0, answer.err

    monkeypatch.setattr(kill_cluster, "run_command", run_command)
    words = ["--kills", "1", "--workers", "2", "--every", "0.05", "--result", str(tmp_path / "results/k.json")]
    with pytest.raises(SystemExit) as ended:
        kill_cluster.main(words)
    assert ended.value.code == 0
    stages = json.loads((tmp_path / "results/k.json").read_text())["stages"]
    assert [stage["what"] for stage in stages] == ["cache", "distill"]
    assert [(stage["kills"], stage["finished"]) for stage in stages] == [(1, 1), (1, 1)]
    assert [stage["differing"] for stage in stages] == [[], []]
    assert stages[0]["compared"] > 30, "files of a store"
    assert stages[1]["compared"] == 4 * 4, "three files and a row of each of four students"
    assert min(stages[0]["tasks"], stages[1]["tasks"]) >= 4
