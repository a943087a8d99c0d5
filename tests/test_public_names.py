"""``import logitcache`` gives the promised names, and loads nothing before it is asked."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

import logitcache as lc
from logitcache import errors

PROMISED = {"open_store", "create_store", "CachedDataset", "SoftTargets", "ViewOptions", "losses", "statistics"}


def typed_names() -> dict[str, str]:
    """Name -> module of what type checkers are told."""
    body = ast.parse(inspect.getsource(lc)).body
    [block] = [node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    names = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom)
        [alias] = statement.names
        assert alias.asname == alias.name, "an alias is what re-exports"
        names[alias.name] = statement.module
    return names


def test_the_promised_names_are_public():
    assert set(lc.__all__) >= PROMISED | set(errors.__all__) - {"Fault"}
    assert len(set(lc.__all__)) == len(lc.__all__)


@pytest.mark.parametrize("name", lc.__all__)
def test_every_public_name_is_what_its_home_has(name):
    home = lc._HOMES[name]
    value = getattr(lc, name)
    if inspect.ismodule(value):
        assert value.__name__ == home
        assert value.__doc__
    else:
        module = import_module(home)
        assert value is getattr(module, name)
        assert name in module.__all__
        assert value.__doc__


def test_type_checkers_are_told_the_same():
    assert set(typed_names()) == set(lc.__all__)
    for name, module in typed_names().items():
        value = getattr(import_module(module), name)
        assert value is getattr(lc, name)


def test_all_names_are_listed_and_no_other_is_there():
    assert set(dir(lc)) >= {*lc.__all__, "__version__"}
    with pytest.raises(AttributeError, match="'logitcache' has no attribute 'open_stroe'"):
        lc.open_stroe  # noqa: B018


def test_a_star_import_brings_the_public_names():
    names: dict[str, object] = {}
    exec("from logitcache import *", names)  # noqa: S102
    assert set(names) - {"__builtins__"} == set(lc.__all__)


def test_import_loads_neither_torch_nor_zarr_and_errors_need_neither():
    code = (
        "import sys, logitcache as lc; lc.InputError; assert lc.__version__\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'zarr', 'numpy', 'dask', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_losses_are_functions_of_tensors():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    assert float(lc.losses.kl(logits, logits, 4.0)) == pytest.approx(0, abs=1e-6)
    assert float(lc.losses.mse(logits, logits + 1)) == 1


def test_a_store_is_written_and_read_with_public_names_alone(tmp_path):
    logits = np.random.default_rng(0).normal(0, 3, (10, 3)).astype(np.float32)
    record = lc.TeacherRecord(
        name="mine",
        model="my network",
        weights="unknown",
        precision="float32",
        provenance="my own loop",
        encoding=lc.Encoding("uniform", "int16", 0.0625, 1e-3, 1.0),
        views=1,
        samples=10,
        classes=3,
        block_rows=5,
        chunk_rows=5,
    )
    split = lc.SplitContent(lc.SplitRecord("train", 10, "unknown"), np.arange(10) % 3, np.arange(10))
    root = lc.StoreRecord("mine", ("a", "b", "c"), {"kind": "unknown"})
    [writer] = lc.create_store(tmp_path / "s.zarr", root, [split], [lc.TeacherContent("train", record, {})])
    for view, block in writer.pending():
        rows = writer.rows(block)
        writer.write(view, block, logits[rows.start : rows.stop])
    writer.finish()
    soft = lc.open_store(tmp_path / "s.zarr").soft_targets(["mine"])
    assert isinstance(soft, lc.SoftTargets)
    rows = torch.tensor([9, 0, 4])
    assert np.abs(soft.gather(rows, 0).numpy() - logits[[9, 0, 4]]).max() <= 0.0625 / 2


def test_a_data_set_of_the_user_is_cached_with_public_names(finished_run):
    store = lc.open_store(finished_run.out / "store.zarr")
    splits = lc.open_data(finished_run.context().recipe.data)
    views = lc.ViewOptions(kind="crop_flip", padding=1, count=2)
    data = lc.CachedDataset(splits["train"], store.soft_targets(), views)
    data.set_epoch(1)
    inputs, label, logits = data[7]
    assert (inputs.shape, int(label), logits.shape) == ((1, 12, 12), 7 % 3, (3,))
    assert torch.equal(logits, store.soft_targets().gather(torch.tensor([7]), lc.epoch_view(1, 2))[0])
