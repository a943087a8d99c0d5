"""Running the teacher again tells its own store from another one's, within the bound and not a row more."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from builders import make_split, make_teacher

from logitcache.cache_job import CacheJob, CacheOptions
from logitcache.caching import run_cache
from logitcache.errors import DamageError, MismatchError
from logitcache.recomputing import _of_split, recompute
from logitcache.store import EncodingOptions
from logitcache.teacher_options import InferenceOptions
from logitcache.views import ViewOptions

CPU = torch.device("cpu")
SPLITS = {"train": make_split(44, 10), "test": make_split(12, 10, seed=1, name="test")}
VIEWS = ViewOptions(kind="crop_flip", count=2, padding=2, seed=1)
TEACHER = make_teacher(SPLITS["train"])
OTHER = make_teacher(SPLITS["train"], seed=1)
ROWS = {"train": 3 * 44, "test": 12}
ENCODINGS = {
    "uniform": EncodingOptions(kind="uniform"),
    "spectral": EncodingOptions(kind="spectral", head=2, max_kl=1e-3),
    "a step given": EncodingOptions(kind="spectral", step=0.5),
    "lossless": EncodingOptions(kind="lossless"),
    "topk": EncodingOptions(kind="topk", entries=3),
}


@pytest.fixture(autouse=True)
def _fast(unsynced):
    """Nothing here is about the disk."""


def job(path, *, splits=SPLITS, views=VIEWS, encoding="spectral", precision="float32") -> CacheJob:
    inference = InferenceOptions(batch=7, precision=precision)
    return CacheJob(path, splits, views, CacheOptions(encoding=ENCODINGS[encoding], block=16, inference=inference))


def cached(path, teacher=TEACHER, **changes) -> CacheJob:
    run_cache(job(path, **changes), teacher, CPU)
    return job(path, **changes)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_right_teacher_agrees_in_every_row(tmp_path, encoding):
    mine = cached(tmp_path, encoding=encoding)
    found = recompute(mine, TEACHER, CPU, 1000)
    assert len(found) == sum(ROWS.values()), "no row twice, and none left out"
    assert all(row.agrees for row in found), [str(row) for row in found if not row.agrees]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_teacher_is_found(tmp_path, encoding):
    mine = cached(tmp_path, encoding=encoding)
    found = recompute(mine, OTHER, CPU, 20)
    beyond = [row for row in found if not row.agrees]
    assert len(beyond) > 30
    line = str(beyond[0])
    for part in (str(beyond[0].block), f"sample {beyond[0].sample}", "allowed are"):
        assert part in line


@pytest.mark.parametrize("batch", [1, 44])
def test_a_bf16_teacher_agrees_whatever_the_batches(tmp_path, batch):
    teacher = replace(TEACHER, precision="bf16")
    mine = cached(tmp_path, teacher, precision="bf16")
    options = mine.options.model_copy(update={"inference": InferenceOptions(batch=batch, precision="bf16")})
    found = recompute(replace(mine, options=options), teacher, CPU, 40)
    assert all(row.agrees for row in found), max(row.kl - row.allowed for row in found)
    assert not all(row.agrees for row in recompute(mine, replace(OTHER, precision="bf16"), CPU, 40))


def test_rows_are_counted_for_each_split_and_drawn_by_key(tmp_path):
    mine, seen = cached(tmp_path), []
    few = recompute(mine, TEACHER, CPU, 9, seen.append)
    assert [sum(row.block.split == split for row in few) for split in ROWS] == [9, 9]
    assert sum(seen) == len(few)
    assert few == recompute(mine, TEACHER, CPU, 9)
    more = {(row.block, row.sample) for row in recompute(mine, TEACHER, CPU, 11)}
    assert {(row.block, row.sample) for row in few} < more
    assert len({block.view for block, _ in more}) == 3


def test_samples_are_named_by_their_index(tmp_path):
    part = SPLITS["train"].take(torch.arange(0, 44, 2))
    mine = cached(tmp_path, splits={**SPLITS, "train": part})
    found = [row for row in recompute(mine, TEACHER, CPU, 1000) if row.block.split == "train"]
    assert {row.sample for row in found} == set(range(0, 44, 2))


def test_few_rows_of_very_many_are_all_different(monkeypatch):
    seen = []
    monkeypatch.setattr("logitcache.recomputing._compare", lambda run, reader, view, rows, own: [
        (view, row) for row in rows.tolist()
    ])  # fmt: skip
    output = SimpleNamespace(logits=torch.zeros(1))
    run = SimpleNamespace(some_rows=lambda rows, view: seen.append((view, len(rows))) or output)
    reader = SimpleNamespace(views=300, samples=2**31 - 1)
    found = _of_split(run, reader, 500)
    assert len(set(found)) == len(found) == 500
    assert len({view for view, _ in found}) > 200
    assert max(row for _, row in found) > 2**30


def test_a_shifted_data_set_is_refused(tmp_path):
    mine = cached(tmp_path)
    order = torch.roll(torch.arange(44), 1)
    shifted = SPLITS["train"].take(order)
    with pytest.raises(MismatchError, match="data set's fingerprint in split 'train'"):
        recompute(replace(mine, splits={**SPLITS, "train": shifted}), TEACHER, CPU, 5)
    with pytest.raises(MismatchError, match=r"padding = 2.*padding = 1"):
        recompute(replace(mine, views=VIEWS.model_copy(update={"padding": 1})), TEACHER, CPU, 5)


def test_logits_that_moved_by_a_row_are_found(tmp_path, monkeypatch):
    """The fingerprints are right, and yet each row holds another one's logits."""
    mine = job(tmp_path)
    real = type(TEACHER.network).forward
    teacher = replace(TEACHER, run=lambda inputs: real(TEACHER.network, inputs).roll(1, 0))
    run_cache(mine, teacher, CPU)
    found = recompute(mine, TEACHER, CPU, 30)
    assert sum(not row.agrees for row in found) > 0.8 * len(found)


def test_a_damaged_block_is_an_error(tmp_path):
    mine = cached(tmp_path)
    for shard in (tmp_path / "train/teachers/big/coefficients/c").rglob("*"):
        if shard.is_file():
            shard.write_bytes(b"")
    with pytest.raises(DamageError, match="of teacher 'big' in split 'train'"):
        recompute(mine, TEACHER, CPU, 3)
