"""The benchmark of blocks runs at a small size, and tells what is flat from what is not."""

from __future__ import annotations

import json

import bench_blocks
import pytest
from bench_blocks import Figure
from blocks_made import shapes
from blocks_stages import STAGES, TASKS
from forked import run_forked

RUN = """
import sys
sys.path.append(sys.argv.pop(1))
import bench_blocks
bench_blocks.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def ran(repository, tmp_path_factory):
    """What it says and writes at ten blocks."""
    folder = tmp_path_factory.mktemp("blocks")
    words = ["--least", 10, "--most", 10, "--tasks", 10, "--out", folder / "found.json"]
    code = run_forked(RUN, repository / "benchmarks", *words, log=folder / "log")
    said = (folder / "log").read_text()
    assert code == 0, said
    return said, json.loads((folder / "found.json").read_text())


def test_every_stage_is_measured_in_every_shape_and_size(ran):
    figures = ran[1]["figures"]
    stages = {(each["shape"], each["stage"], each["blocks"]) for each in figures}
    expected = {(s.name, stage.name, 10) for s in shapes(10) for stage in STAGES}
    assert stages == expected | {("cluster", TASKS, 10)}
    assert all(each["microseconds"] > 0 for each in figures)
    assert [len(grown) for grown in ran[1]["growth"].values()] == [2 * len(STAGES) + 1] * 2


def test_the_table_has_a_line_for_each_and_the_record_no_path(ran):
    said, record = ran
    for stage in STAGES:
        assert said.count(f"one view: {stage.name}") == 1
    assert record["place"] in {"a file system in memory", "a folder on disk"}
    assert "bench_blocks_" not in json.dumps({**record, "command": ""})


def test_growth_is_that_of_the_largest_over_the_cheapest():
    found = [Figure("a", "x", size, cost, 1.0, 0, 1) for size, cost in ((10, 3.0), (100, 2.0), (1000, 5.0))]
    assert bench_blocks.growth(found) == {("a", "x"): 2.5}
    assert bench_blocks.growth(found, "cpu_microseconds") == {("a", "x"): 1.0}
    assert "not flat" in bench_blocks.table(found)
    assert "not flat" not in bench_blocks.table(found[:2])


def test_both_shapes_have_the_blocks_asked_for():
    assert [(s.views, s.blocks, s.total) for s in shapes(10_000)] == [(1, 10_000, 10_000), (100, 100, 10_000)]


def test_sizes_that_are_none_are_refused(capsys):
    with pytest.raises(SystemExit):
        bench_blocks.parse(["--least", "1000", "--most", "100"])
    assert "10 <= least <= most" in capsys.readouterr().err
