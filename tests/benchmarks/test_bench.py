"""The benchmarks run in their small mode, and their arithmetic is right."""

from __future__ import annotations

import json

import bench
import machine
import numpy as np
import pairs
import pytest


def test_ratios_are_medians_over_pairs():
    seconds = {"a": [2.0, 3.0, 10.0], "b": [1.0, 2.0, 1.0]}
    ratio = pairs.compare("x", seconds, "a", "b", "<= 1.05")
    assert (ratio.ratio, ratio.low, ratio.high) == (2.0, 1.5, 10.0)
    assert (ratio.seconds, ratio.seconds_against) == (3.0, 1.0)
    assert str(ratio) == "x: a / b = 2.000 [1.500..10.000], 3 s against 1 s  (target <= 1.05)"


def test_kinds_take_turns_and_the_first_round_only_warms_up():
    calls = []
    seconds = pairs.interleave({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert calls == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_the_flags_that_matter_are_read(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: some\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_tile\nflags\t\t: other\n")
    assert machine.cpu_flags(path) == ["amx_tile", "avx2", "avx512_bf16", "avx512f"]
    assert machine.cpu_flags(tmp_path / "none") == []


def test_the_evidence_names_no_host():
    evidence = machine.evidence()
    assert set(evidence) == {"machine", "versions", "command"}
    assert set(evidence["machine"]) == {"cores", "architecture", "cpu_flags", "threads", "wait_policy"}


@pytest.fixture(scope="module")
def figures(finished_run, tmp_path_factory):
    """What a small bench writes about a tiny run and tiny imported logits."""
    folder = tmp_path_factory.mktemp("bench")
    logits = np.random.default_rng(0).normal(0, 4, (300, 40)).astype(np.float32)
    np.savez(folder / "logits.npz", logits=logits, labels=np.zeros(300, np.int64))
    words = ["--recipe", finished_run.recipe, "--run", finished_run.out, "--logits", folder / "logits.npz"]
    bench.main([str(word) for word in (*words, "--result", folder / "results/bench.json", "--small")])
    return json.loads((folder / "results/bench.json").read_text())


def test_every_promised_ratio_is_there(figures):
    ratios = {(r["what"], r["kind"], r["against"]): r for r in figures["ratios"]}
    assert all(r["ratio"] > 0 and r["seconds"] > 0 for r in ratios.values())
    assert ratios["stage 1", "cache step", "bare loop"]["target"] == "<= 1.05"
    assert ratios["student epoch", "cached soft targets", "hard labels"]["target"] == "<= 1.05"
    assert ("student epoch", "cached soft targets", "online teacher") in ratios
    for classes in (3, 40):
        for batch in (256, 1024):
            what = f"epoch of gathers, {classes} classes, batch {batch}"
            assert ratios[what, "memmap float16", "soft targets"]["target"] == ">= 1.0"
            decoded = ratios[what, "memmap float16", "with decoding"]
            assert decoded["seconds_against"] > ratios[what, "memmap float16", "soft targets"]["seconds_against"]


def test_the_largest_kl_stands_beside_its_bound(figures):
    rows = [figure for figure in figures["figures"] if figure["what"].startswith("largest KL")]
    assert [row["what"].split()[-1] for row in rows] == ["0.5", "1", "2", "4", "20"]
    assert all(0 < row["kl"] <= row["bound"] for row in rows)
    [size] = [figure for figure in figures["figures"] if "bytes_per_row" in figure]
    assert 0 < size["bytes_per_row"] < size["float16_bytes_per_row"] == 80


def test_the_small_run_is_made_where_there_is_none(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "SMALL_RUN", ("data.samples=50", "teachers.teach.epochs=1"))
    options = bench.parse(["--recipe", str(finished_run.recipe), "--run", str(tmp_path / "none")])
    made = bench.demo(options, tmp_path)
    assert made.out == tmp_path / "run"
    assert made.has_mark("verify")
    assert not (tmp_path / "none").exists()
