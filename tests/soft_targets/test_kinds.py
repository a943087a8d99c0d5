"""Soft targets of every encoding are what the reader reads, however their blocks differ in what they need to keep."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from builders import KINDS, Plan
from textbook import realistic

from logitcache.soft_targets import open_store
from logitcache.soft_targets.forms import DenseForm, row_form
from logitcache.soft_targets.resident import ResidentBlocks, ResidentViews
from logitcache.store import EncodingOptions

MEMORY = {"whole views": 1 << 22, "one block": 1}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Uneven(Plan):
    """Logits whose blocks need more and more: components, bits of codes, and levels."""

    views: int = 2
    samples: int = 90
    classes: int = 10
    block_rows: int = 20
    encoding: EncodingOptions = field(default_factory=lambda: EncodingOptions(kind="spectral", step=0.5))

    @property
    def logits(self):
        base = np.stack([realistic(self.samples, self.classes, seed) for seed in range(self.views)])
        size = np.repeat([0.03, 0.5, 1, 30, 0.03], self.block_rows)[: self.samples, None]
        return (base * size).astype(np.float32)


PLANS = {
    **{name: Plan(encoding=options, samples=50, classes=6, teacher=name) for name, options in KINDS.items()},
    "uneven": Uneven(teacher="uneven", samples=90, classes=6),
    "levels": Plan(encoding=EncodingOptions(kind="spectral", max_kl=0.1), samples=50, classes=6, teacher="levels"),
    "bf16": Plan(
        encoding=EncodingOptions(kind="spectral", max_kl=0.1, precision="bf16"), samples=50, classes=6, teacher="bf16"
    ),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, plan in PLANS.items():
        plan.write(folder / name)
    return folder


def decoded(store, name):
    """All logits by the plain reader, float32 (views, samples, classes)."""
    reader = store.logits(name)
    views = [[reader.read(view, block) for block in range(reader.blocks)] for view in range(reader.views)]
    return torch.from_numpy(np.stack([np.concatenate(view) for view in views]))


def tolerance(name, expected):
    """int16 in the range of a row, or sums in another order where the number of rows in a product is another one."""
    exact = name in {"uniform", "lossless", "topk"}
    return 0 if exact else (2e-2 if name == "bf16" else 2e-5) * expected.abs().max().item()


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("name", PLANS)
def test_any_rows_of_any_view_are_what_the_reader_reads(stores, name, memory):
    store = open_store(stores / name)
    soft, expected = store.soft_targets(memory=memory), decoded(store, name)
    atol = tolerance(name, expected)
    generator = torch.Generator().manual_seed(0)
    for view in (1, 0, 1):
        rows = torch.randint(0, soft.samples, (64,), generator=generator)
        for some in (rows, torch.arange(soft.samples), rows[:1]):
            found = soft.gather(some, view)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected[view, some], rtol=0, atol=atol)
    assert soft.gather(torch.arange(0), 1).shape == (0, soft.classes)


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("name", ["head", "topk", "uneven"])
def test_every_row_may_have_a_view_of_its_own(stores, name, memory):
    store = open_store(stores / name)
    rows, views = torch.tensor([49, 0, 0, 17, 3]), torch.tensor([1, 0, 1, 1, 0])
    expected = decoded(store, name)[views, rows]
    found = store.soft_targets(memory=memory).gather(rows, views)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance(name, expected))


def test_blocks_of_different_widths_are_put_together(stores):
    """The case is what it is meant to be: fewer components in some blocks, int8 in some, int16 in others."""
    reader = open_store(stores / "uneven").logits("uneven")
    forms = [reader.codec.rows(reader.values(0, block))["codes"] for block in range(reader.blocks)]
    assert len({form.shape[1] for form in forms}) > 1
    assert {form.dtype for form in forms} == {np.dtype(np.int8), np.dtype(np.int16)}
    for resident in (ResidentViews(reader, reader.codec, 1, CPU), ResidentBlocks(reader, reader.codec, 1, CPU)):
        found = resident.gather(torch.arange(90), 0)["codes"].numpy()
        for block, form in enumerate(forms):
            part = found[reader.rows(block).start : reader.rows(block).stop]
            assert (part[:, : form.shape[1]] == form).all()
            assert not part[:, form.shape[1] :].any()


def test_a_level_in_one_block_is_none_in_the_others(stores):
    reader = open_store(stores / "levels").logits("levels")
    has = ["level" in reader.codec.rows(reader.values(0, block)) for block in range(reader.blocks)]
    assert set(has) == {True, False}
    for resident in (ResidentViews(reader, reader.codec, 1, CPU), ResidentBlocks(reader, reader.codec, 9, CPU)):
        level = resident.gather(torch.arange(50), 0)["level"].numpy()
        expected = np.concatenate([reader.values(0, block)["level"] for block in range(reader.blocks)])
        assert (level == expected).all()
        assert level.any()


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("name", PLANS)
def test_memory_is_about_what_a_view_takes(stores, name, memory):
    reader = open_store(stores / name).logits(name)
    form = row_form(reader, CPU, memory)
    rows = ResidentViews(reader, form, 1, CPU).gather(torch.arange(reader.samples), 0)
    taken = sum(part.numel() * part.element_size() for part in rows.values())
    assert 0.5 < taken / (reader.samples * form.row_bytes) < 2


def test_spectral_rows_are_multiplied_once_where_a_view_fits_in_a_cpus_memory(stores):
    for name in PLANS:
        reader = open_store(stores / name).logits(name)
        spectral = reader.encoding.kind == "spectral"
        takes = 4 * reader.classes
        assert isinstance(row_form(reader, CPU, reader.samples * takes), DenseForm) == spectral
        assert row_form(reader, CPU, reader.samples * takes - 1) is reader.codec
        assert row_form(reader, torch.device("cuda"), 1 << 30) is reader.codec


@pytest.mark.parametrize("name", ["spectral", "head", "uneven", "levels"])
def test_dense_rows_are_what_is_read(stores, name):
    reader = open_store(stores / name).logits(name)
    form = DenseForm(reader.codec)
    for block in range(reader.blocks):
        rows = form.rows(reader.values(0, block))
        found = form.logits({key: torch.from_numpy(part) for key, part in rows.items()}).numpy()
        assert np.array_equal(found, reader.read(0, block))


@pytest.mark.parametrize("memory", MEMORY.values(), ids=MEMORY)
@pytest.mark.parametrize("name", PLANS)
def test_soft_targets_pickle_for_worker_processes(stores, name, memory):
    soft = open_store(stores / name).soft_targets(memory=memory)
    before = pickle.dumps(soft)
    rows = torch.arange(50)
    expected = soft.gather(rows, 1)  # by now the codec has made its matrices
    for data in (before, pickle.dumps(soft)):
        assert torch.equal(pickle.loads(data).gather(rows, 1), expected)  # noqa: S301 - our own


def test_teachers_of_different_kinds_are_averaged(tmp_path, unsynced):
    plans = [replace(PLANS[name], teacher=name, seed=seed) for seed, name in enumerate(("spectral", "uniform", "head"))]
    for plan in plans:
        plan.write(tmp_path)
    store = open_store(tmp_path)
    soft = store.soft_targets(["spectral", "uniform", "head"], weights=(1, 2, 3))
    parts = [decoded(store, plan.teacher)[1].double().numpy() for plan in plans]
    expected = np.average(parts, axis=0, weights=(1, 2, 3))
    np.testing.assert_allclose(soft.gather(torch.arange(50), 1).numpy(), expected, atol=1e-4)
    assert soft.whole


def test_sparse_soft_targets_say_that_they_are_not_whole(stores):
    soft = open_store(stores / "topk").soft_targets()
    assert not soft.whole
    probs = soft.gather(torch.arange(50), 0).double().exp()
    torch.testing.assert_close(probs.sum(1), torch.ones(50, dtype=torch.float64), rtol=0, atol=2e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", PLANS)
def test_a_gpu_gathers_the_same(stores, name):
    store = open_store(stores / name)
    expected = decoded(store, name)[1]
    for memory in MEMORY.values():
        found = store.soft_targets(memory=memory, device="cuda").gather(torch.arange(len(expected)), 1)
        assert found.device.type == "cuda"
        atol = max(1e-3, tolerance(name, expected))
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=atol)
