"""Processes that never heard of logitcache read stores, by the very code of ``docs/format.md`` and by tensorstore."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from builders import Plan

from logitcache.store import EncodingOptions, open_store

KEPT = "plain labels noisy_labels compact sharp spread_out missing committed largest_kl kind classes"
PROLOGUE = """
import warnings
warnings.filterwarnings("error", category=UserWarning)
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")
"""
EPILOGUE = f"""
import sys
assert "logitcache" not in sys.modules
dims = {{name: np.array(globals()[name].dims) for name in ("plain", "compact", "labels")}}
np.savez("found.npz", **{{name: globals()[name] for name in "{KEPT}".split() if name != "committed"}},
         committed=np.array([(*key, *rows) for key, rows in sorted(committed.items())]),
         **{{f"{{name}} dims": dims[name] for name in dims}})
"""

NOISE = {"kind": "symmetric", "rate": 0.35, "seed": 0, "labels": "1" * 16}
PLAIN = Plan(classes=10, features=3, teacher="plain", noise=NOISE, commit_group=2)
LOSSLESS = replace(PLAIN, teacher="exact", features=0, commit_group=0, encoding=EncodingOptions(kind="lossless"))
TEACHERS = {
    "compact": EncodingOptions(kind="spectral", head=0, max_kl=0.3),
    "sharp": EncodingOptions(kind="spectral", head=2, max_kl=0.03),
    "few": EncodingOptions(kind="topk", entries=4, top_p=0.95),
}


def write_teachers(path, codec="pcodec"):
    """Teachers of all kinds; block (1, 1) of the first and (0, 2) of the second were never written."""
    of_codec = PLAIN.encoding.model_copy(update={"codec": codec})
    replace(PLAIN, encoding=of_codec).write(path, leave_out={(1, 1)})
    LOSSLESS.write(path, leave_out={(0, 2)})
    for name, options in TEACHERS.items():
        chosen = options.model_copy(update={"codec": codec})
        replace(PLAIN, teacher=name, features=0, encoding=chosen).write(path)
    return open_store(path)


@pytest.fixture(scope="module")
def page(request):
    """The code of the page, in order."""
    text = (request.config.rootpath / "docs/format.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def read(tmp_path_factory, page):
    """What the page's code finds, and the store as logitcache opens it."""
    pytest.importorskip("xarray")
    folder = tmp_path_factory.mktemp("foreign")
    store = write_teachers(folder / "store.zarr")
    run(folder, "\n".join([PROLOGUE, *page, EPILOGUE]))
    return dict(np.load(folder / "found.npz")), store


def run(folder, code):
    """Run code in a process of its own, in a folder from where logitcache's sources cannot be seen."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def blocks(store, name, view=0):
    """All rows of a view as logitcache decodes them."""
    reader = store.logits(name)
    return np.concatenate([reader.read(view, block) for block in range(reader.blocks)])


def test_the_page_has_code_for_every_kind(page):
    assert len(page) == 8
    imported = {name.name for code in page for node in ast.walk(ast.parse(code)) for name in getattr(node, "names", [])}
    assert "logitcache" not in imported


def test_uniform_logits_are_floats_within_half_a_step(read):
    found, store = read
    logits = found["plain"]
    assert logits.dtype.kind == "f"
    written = ~np.isnan(logits)
    assert np.abs(logits - PLAIN.logits)[written].max() <= store.logits("plain").encoding.step / 2 * (1 + 1e-6)
    assert (logits[0].astype(np.float32) == blocks(store, "plain")).all()


@pytest.mark.parametrize("view", [0, 1])
def test_spectral_logits_are_what_logitcache_reads(read, view):
    found, store = read
    np.testing.assert_allclose(found["compact"][view], blocks(store, "compact", view), rtol=0, atol=1e-4)


def test_logits_with_a_head_are_what_logitcache_reads(read):
    found, store = read
    np.testing.assert_allclose(found["sharp"], blocks(store, "sharp"), rtol=0, atol=1e-4)
    assert (found["sharp"].argmax(axis=1) == PLAIN.logits[0].argmax(axis=1)).all()


@pytest.mark.parametrize("name", ["compact", "sharp"])
def test_the_stores_have_rows_of_other_levels(read, name):
    levels = [read[1].logits(name).values(0, block)["level"] for block in range(3)]
    assert 0 < np.concatenate(levels).astype(bool).sum() < 20, "else the page's halving is not looked at"


def test_the_largest_entries_spread_out_are_what_logitcache_reads(read):
    found, store = read
    np.testing.assert_allclose(found["spread_out"], blocks(store, "few"), rtol=1e-5)
    entries = store.logits("few").values(0, 0)["top_values"]
    assert np.isnan(entries).any(), "else the page's missing entries are not looked at"
    assert not np.isnan(entries).all(axis=1).any()


def test_a_missing_block_is_nan_and_nothing_else_is(read):
    expected = np.zeros((2, 20), bool)
    expected[1, 8:16] = True
    assert (read[0]["missing"] == expected).all()
    assert (np.isnan(read[0]["plain"]).all(axis=2) == expected).all()


def test_commits_say_which_blocks_there_are(read):
    rows = [(0, 0, 0, 8), (0, 1, 8, 16), (0, 2, 16, 20), (1, 0, 0, 8), (1, 2, 16, 20)]
    assert [tuple(row) for row in read[0]["committed"]] == rows
    assert 0 < read[0]["largest_kl"] <= read[1].logits("plain").encoding.bound(0.5)


def test_attributes_labels_and_dimensions_are_those_of_the_page(read):
    found, _ = read
    assert (found["kind"], found["classes"]) == ("spectral", 10)
    assert (found["labels"] == PLAIN.labels).all()
    assert (found["noisy_labels"] == PLAIN.noisy_labels).all()
    assert (found["labels"] != found["noisy_labels"]).any()
    assert found["plain dims"].tolist() == found["compact dims"].tolist() == ["view", "sample", "class"]
    assert found["labels dims"].tolist() == ["sample"]


@pytest.mark.parametrize(
    "what", ["labels/c/0", "noisy_labels/c/0", "teachers/compact/basis/c/0/0", "teachers/plain/logits/c/0/1/0"]
)
def test_the_pages_checks_see_a_flipped_bit(tmp_path, page, what):
    write_teachers(tmp_path / "store.zarr")
    file = tmp_path / "store.zarr/train" / what
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    setup = "import numpy as np"
    with pytest.raises(AssertionError, match="is damaged"):
        run(tmp_path, "\n".join([setup, *page[-2:]]))


def test_other_arrays_have_their_names_and_lossless_logits_are_exact(tmp_path):
    pytest.importorskip("xarray")
    write_teachers(tmp_path / "store.zarr")
    code = """
import numpy as np, xarray, warnings
warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr version 3")
plain, exact = (xarray.open_zarr("store.zarr", group=f"train/teachers/{name}", consolidated=False)
                for name in ("plain", "exact"))
assert plain.features.dims == ("view", "sample", "feature") and plain.features.shape == (2, 20, 3)
assert plain.classifier_weight.dims == ("class", "feature") and plain.classifier_weight.shape == (10, 3)
np.save("exact.npy", exact.logits.values)
"""
    run(tmp_path, code)
    exact = np.load(tmp_path / "exact.npy")
    assert (exact[1] == LOSSLESS.logits[1]).all()
    assert np.isnan(exact[0, 16:]).all()
    assert not np.isnan(exact[0, :16]).any()


@pytest.fixture(scope="module")
def portable(tmp_path_factory):
    """A store of the codecs that the Zarr v3 specification has."""
    pytest.importorskip("tensorstore")
    folder = tmp_path_factory.mktemp("portable")
    return write_teachers(folder / "store.zarr", "portable")


def opened(store, name):
    """An array as tensorstore reads it."""
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{store.url}/train/{name}"}}
    array = tensorstore.open(spec, read=True).result()
    return array.read().result(), array.domain.labels


def test_tensorstore_opens_a_portable_store(portable):
    assert (opened(portable, "labels")[0] == PLAIN.labels).all()
    assert (opened(portable, "noisy_labels")[0] == PLAIN.noisy_labels).all()
    assert (opened(portable, "index")[0] == PLAIN.index).all()
    values = portable.logits("compact").values(0, 1)
    coefficients, dimensions = opened(portable, "teachers/compact/coefficients")
    assert dimensions == ("view", "component", "sample")
    assert (coefficients[0, :, 8:16] == values["coefficients"]).all()
    assert (opened(portable, "teachers/compact/level")[0][0, 8:16] == values["level"]).all()
    for name, known in portable.transform("compact").items():
        assert (opened(portable, f"teachers/compact/{name}")[0] == known).all()


@pytest.mark.parametrize(
    "name", ["sharp/head_classes", "sharp/head_values", "few/top_classes", "few/top_values", "few/tail", "plain/logits"]
)
def test_tensorstore_reads_every_array_of_a_portable_store(portable, name):
    teacher, array = name.split("/")
    found, dimensions = opened(portable, f"teachers/{name}")
    known = portable.logits(teacher).values(0, 0)[array]
    rows = np.take(found[0], range(8), axis=dimensions.index("sample") - 1)
    np.testing.assert_array_equal(rows, known)
