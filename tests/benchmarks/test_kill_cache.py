"""The comparison of a killed cache step with an uninterrupted one."""

from __future__ import annotations

import kill_cache
import pytest
from forked import run_script


@pytest.mark.parametrize("seed", range(5))
def test_moments_are_spread_over_the_run(seed):
    moments = kill_cache.moments(20, 630, seed)
    assert len(moments) == 20
    assert 0 <= moments[0] < 1, "the first while the store is created"
    assert 630 <= moments[-1] < 631, "the last while commits are folded"
    assert moments == sorted(moments)
    for part, moment in enumerate(moments[1:-1]):
        assert 1 + 629 * part / 18 <= moment <= 1 + 629 * (part + 1) / 18
    assert kill_cache.moments(20, 630, seed) == moments != kill_cache.moments(20, 630, seed + 1)


def test_any_other_file_or_byte_is_a_difference(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "x").mkdir(parents=True)
        (tmp_path / name / "x/same").write_bytes(b"1")
        (tmp_path / name / "x/other").write_bytes(name.encode())
    (tmp_path / "a/only").touch()
    ours, theirs = (kill_cache.digests(tmp_path / name) for name in ("a", "b"))
    assert kill_cache.differences(ours, theirs) == ["only", "x/other"]
    assert kill_cache.differences(ours, dict(ours)) == []


def test_a_small_one_comes_out_the_same(repository, tmp_path):
    words = ["--kills", "1", "--samples", "100", "--views", "1", "--block", "20"]
    code = run_script(repository / "benchmarks/kill_cache.py", *words, log=tmp_path / "log")
    lines = (tmp_path / "log").read_text().splitlines()
    assert code == 0, lines
    assert lines[0].startswith("uninterrupted: 10 blocks, ")
    assert lines[1].startswith("1 of 1 kills hit a running writer")
    assert lines[2].startswith("0 of ")
