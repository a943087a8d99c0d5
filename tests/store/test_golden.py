"""The stores of format version 1 under ``golden`` stay readable forever, to the last bit."""

from __future__ import annotations

import json
import runpy
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from builders import tree

from logitcache.errors import InputError
from logitcache.store import open_store
from logitcache.store.documents import pack
from logitcache.store.schema import FORMAT_VERSION
from logitcache.store.verify import verify_url

GOLDEN = Path(__file__).parent / "golden"
DIGESTS = {
    "version1.zarr": (77, "87992c1ceb9387d31398d6ef63d6b3bd64932c2e2ab6bc4321e53bc3678e9de4"),
    "encodings.zarr": (147, "8398cd1567068ef9c415197aa8814d8e7cecea7b9fc3a7a9a01d5636007681ad"),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What the writer of version 1 read back from it, NaN where there is no block."""
    with np.load(GOLDEN / "version1.npz") as file:
        return dict(file)


def decoded(path: Path) -> dict[str, np.ndarray]:
    """Every array that today's reader makes of a store, under the names of ``expected``."""
    store = open_store(path)
    found = {}
    for split in store.splits:
        found |= {f"{split}/labels": store.labels(split), f"{split}/index": store.index(split)}
        for teacher in store.teachers(split):
            place, reader = f"{split}/{teacher}", store.logits(teacher, split)
            found |= {f"{place}/{part}": values for part, values in store.classifier(teacher, split).items()}
            reads = {"logits": reader.read, **({"features": reader.features} if reader.record.features else {})}
            for name, read in reads.items():
                views = [
                    [read(view, block) if reader.has(view, block) else None for block in range(reader.blocks)]
                    for view in range(reader.views)
                ]
                width = views[0][0].shape[1]
                found[f"{place}/{name}"] = np.stack([whole(blocks, reader, width) for blocks in views])
    return found


def whole(blocks, reader, width) -> np.ndarray:
    """The rows of a view, NaN where a block is missing."""
    rows = [len(reader.rows(block)) for block in range(reader.blocks)]
    parts = [
        np.full((count, width), np.nan, np.float32) if b is None else b for b, count in zip(blocks, rows, strict=True)
    ]
    return np.concatenate(parts)


def test_every_value_is_what_it_was(expected):
    found = decoded(GOLDEN / "version1.zarr")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        assert found[name].tobytes() == values.tobytes(), name


def test_what_it_says_of_itself_is_what_it_was():
    store = open_store(GOLDEN / "version1.zarr")
    assert (store.record.dataset, store.classes) == ("golden", ("ant", "bée", "cat", "dog", "eel"))
    assert store.record.views == {"kind": "crop_flip", "padding": 4, "seed": 7}
    assert (store.splits, store.teachers("train"), store.teachers("test")) == (
        ("test", "train"),
        *[("big", "exact")] * 2,
    )
    train = store.split("train")
    assert (train.samples, train.fingerprint, train.probe) == (40, "trainfffffffffff", "trainppppppppppp")
    big, exact = (store.logits(name).record for name in ("big", "exact"))
    assert (big.model, big.weights, big.precision, big.provenance) == (
        "cnn-4-8",
        "big" + "w" * 13,
        "float32",
        "network",
    )
    assert (big.views, big.block_rows, big.features, big.taus) == (3, 16, 3, (1.0, 4.0))
    assert (big.encoding.kind, big.encoding.dtype, big.encoding.step) == ("uniform", "int16", 0.08935546875)
    assert (exact.encoding.kind, exact.encoding.dtype) == ("lossless", "float32")


def test_it_is_intact_but_for_the_two_blocks_that_were_left_out():
    found = verify_url(GOLDEN / "version1.zarr", decode=True)
    assert [(block.teacher, block.view, block.block) for block in found.damaged] == [("big", 2, 2), ("exact", 2, 2)]
    assert all("is not committed" in finding.problem for finding in found.findings)
    assert found.blocks == 22


def test_every_encoding_is_what_it_was():
    with np.load(GOLDEN / "encodings.npz") as file:
        expected = dict(file)
    found = runpy.run_path(str(GOLDEN / "make_encodings.py"))["values"](GOLDEN / "encodings.zarr")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype, name
        if name.endswith("decoded"):  # matrix products differ in the last bits between machines
            np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5, err_msg=name)
        else:
            assert found[name].tobytes() == values.tobytes(), name
    assert verify_url(GOLDEN / "encodings.zarr", decode=True).findings == ()


@pytest.mark.parametrize("name", DIGESTS)
def test_neither_git_nor_an_editor_has_changed_its_bytes(name):
    digests = tree(GOLDEN / name)
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(digests.items()))
    assert (len(digests), sha256(lines.encode()).hexdigest()) == DIGESTS[name]


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", None])
def test_other_versions_are_refused_by_version(tmp_path, version):
    path = tmp_path / "store"
    shutil.copytree(GOLDEN / "version1.zarr", path)
    root = json.loads((path / "zarr.json").read_bytes())
    root["attributes"]["logitcache"]["format_version"] = version
    (path / "zarr.json").write_text(json.dumps(root))
    for file in path.rglob("digests.json"):
        digests = json.loads(file.read_bytes())["record"]
        if "zarr.json" in digests:
            file.write_bytes(pack({**digests, "zarr.json": sha256((path / "zarr.json").read_bytes()).hexdigest()}))
    said = (
        f"format version {version}; this logitcache reads {FORMAT_VERSION}"
        if isinstance(version, int)
        else "not a logit store"
    )
    for read in (open_store, verify_url):
        with pytest.raises(InputError, match=said):
            read(path)
