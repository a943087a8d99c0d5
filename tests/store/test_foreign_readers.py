"""A process that never heard of logitcache opens a store with xarray and finds the logits, and NaN where none are."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import Plan

from logitcache.store import EncodingOptions, open_store

PLAN = Plan(features=3)
LOSSLESS = replace(PLAN, teacher="exact", features=0, encoding=EncodingOptions(kind="lossless"))

READER = """
import sys, warnings
import numpy as np
import xarray
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")
store, out, *groups = sys.argv[1:]
found = {}
for group in groups:
    opened = xarray.open_zarr(store, group=group, consolidated=False)
    for name in opened:
        found[f"{group}/{name}"] = opened[name].values
        found[f"{group}/{name} dims"] = np.array(opened[name].dims)
assert "logitcache" not in sys.modules
np.savez(out, **found)
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What xarray finds in a store with three teachers; block (1, 1) of the first was never written."""
    pytest.importorskip("xarray")
    folder = tmp_path_factory.mktemp("foreign")
    PLAN.write(folder / "store", leave_out={(1, 1)})
    LOSSLESS.write(folder / "store", leave_out={(0, 2)})
    groups = ["train", "train/teachers/big", "train/teachers/exact"]
    command = [sys.executable, "-W", "error::UserWarning", "-c", READER, folder / "store", folder / "out.npz", *groups]
    subprocess.run(command, check=True, cwd=folder)
    return dict(np.load(folder / "out.npz")), open_store(folder / "store")


def test_logits_are_floats_within_half_a_step(found):
    arrays, store = found
    logits = arrays["train/teachers/big/logits"]
    assert logits.dtype.kind == "f"
    written = ~np.isnan(logits)
    assert np.abs(logits - PLAN.logits)[written].max() <= store.logits("big").encoding.step / 2 * (1 + 1e-6)
    assert (logits[0, 8:16].astype(np.float32) == store.logits("big").read(0, 1)).all()


def test_a_missing_block_is_nan_and_nothing_else_is(found):
    arrays, _ = found
    for name, view, rows in (("big", 1, slice(8, 16)), ("exact", 0, slice(16, 20))):
        missing = np.isnan(arrays[f"train/teachers/{name}/logits"])
        assert missing[view, rows].all()
        missing[view, rows] = False
        assert not missing.any()


def test_lossless_logits_are_exact(found):
    logits = found[0]["train/teachers/exact/logits"]
    assert (logits[1] == LOSSLESS.logits[1]).all()


def test_features_labels_and_dimensions_have_their_names(found):
    arrays, _ = found
    assert (arrays["train/labels"] == PLAN.labels).all()
    assert (arrays["train/index"] == PLAN.index).all()
    assert arrays["train/teachers/big/features"].shape == (2, 20, 3)
    assert arrays["train/teachers/big/classifier_weight"].shape == (4, 3)
    assert arrays["train/teachers/big/logits dims"].tolist() == ["view", "sample", "class"]
    assert arrays["train/teachers/big/features dims"].tolist() == ["view", "sample", "feature"]
