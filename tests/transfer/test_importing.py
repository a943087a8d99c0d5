"""Logits of other systems go into a store within the bound; what does not fit leaves nothing behind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from builders import KilledError, dies_after, make_split, tree
from textbook import realistic, worst_kl

from logitcache.errors import InputError, MismatchError, UnknownOriginWarning
from logitcache.formats import SourceOptions, open_source
from logitcache.matching import check_split
from logitcache.store import UNKNOWN, EncodingOptions, open_store, verify
from logitcache.store.encodings.topk import TopK, to_logits, top_k
from logitcache.transfer import ImportOptions, import_logits
from logitcache.views import ViewOptions

SAMPLES, CLASSES = 50, 5
UNIFORM = EncodingOptions(kind="uniform")
OPTIONS = ImportOptions("big", encoding=UNIFORM, block=16)


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(0, 5, (SAMPLES, CLASSES)).astype(np.float32)


@pytest.fixture
def files(tmp_path, logits, unsynced):
    """Saves arrays as .npy files by name; ``logits`` and ``labels`` are there."""

    def save(name, array):
        np.save(tmp_path / f"{name}.npy", array)
        return tmp_path / f"{name}.npy"

    save("logits", logits)
    save("labels", np.arange(SAMPLES) % CLASSES)
    return save


def bring(path, store, options=OPTIONS, labels=None, progress=None):
    return import_logits(open_source(path, SourceOptions()), store, options, labels, progress)


def decoded(store, view=0, teacher="big"):
    reader = open_store(store).logits(teacher)
    return np.concatenate([reader.read(view, block) for block in range(reader.blocks)])


def test_every_row_is_within_the_bound_and_labels_are_kept(tmp_path, files, logits):
    outcome = bring(tmp_path / "logits.npy", tmp_path / "store", labels=tmp_path / "labels.npy")
    store = open_store(tmp_path / "store")
    encoding = store.logits("big").encoding
    assert (outcome.written, outcome.found) == (4, 0)
    assert np.abs(decoded(tmp_path / "store") - logits).max() <= encoding.step / 2
    assert worst_kl(logits, decoded(tmp_path / "store"), 1.0).max() <= encoding.bound(1.0) <= 1e-3
    assert (store.labels("train") == np.arange(SAMPLES) % CLASSES).all()
    assert verify(store, decode=True).findings == ()


ENCODINGS = {
    "auto": (EncodingOptions(max_kl=0.03), "spectral"),
    "spectral": (EncodingOptions(kind="spectral", max_kl=0.01, head=4), "spectral"),
    "uniform": (EncodingOptions(kind="uniform", max_kl=0.01), "uniform"),
    "lossless": (EncodingOptions(kind="lossless"), "lossless"),
    "portable": (EncodingOptions(kind="spectral", max_kl=0.01, codec="portable"), "spectral"),
    "bytes": (EncodingOptions(bytes_per_row=40), "spectral"),
}


@pytest.mark.parametrize(("options", "kind"), ENCODINGS.values(), ids=list(ENCODINGS))
def test_every_encoding_keeps_its_promise_in_all_views(tmp_path, files, options, kind):
    views = np.stack([realistic(1000, seed=seed) for seed in (0, 1)])
    outcome = bring(files("views", views), tmp_path / "store", ImportOptions("big", encoding=options, block=400))
    encoding = open_store(tmp_path / "store").logits("big").encoding
    assert encoding.kind == kind
    assert outcome.encoding.startswith(kind)
    for view in (0, 1):
        bound = encoding.bound(encoding.tau_min)
        assert worst_kl(views[view], decoded(tmp_path / "store", view), encoding.tau_min, 21).max() <= bound + 1e-6
    assert verify(open_store(tmp_path / "store"), decode=True).findings == ()


def test_topk_keeps_the_largest_entries(tmp_path, files, logits):
    options = ImportOptions("big", encoding=EncodingOptions(kind="topk", entries=2), block=16)
    bring(tmp_path / "logits.npy", tmp_path / "store", options)
    expected = to_logits(top_k(logits, 2), CLASSES)
    assert np.abs(decoded(tmp_path / "store") - expected).max() < 0.02


class Sparse:
    """A source of top-3 rows in two views."""

    def __init__(self, path, views):
        self.rows = [top_k(view, 3) for view in views]
        self.source = replace(
            open_source(path, SourceOptions()), part=self.part, views=len(views), sparse=3, format="sparse"
        )

    def part(self, view, rows):
        cut, whole = slice(rows.start, rows.stop), self.rows[view]
        return TopK(whole.classes[cut], whole.log_probs[cut], whole.tail[cut])


@pytest.mark.parametrize("kind", ["auto", "topk"])
def test_sparse_rows_become_topk(tmp_path, files, logits, kind):
    entries = {"entries": 3} if kind == "topk" else {}
    options = ImportOptions("big", encoding=EncodingOptions(kind=kind, **entries), block=16)
    views = [logits, logits[::-1]]
    sparse = Sparse(tmp_path / "logits.npy", views).source
    assert import_logits(sparse, tmp_path / "store", options).written == 8
    store = open_store(tmp_path / "store")
    assert (store.logits("big").encoding.kind, store.logits("big").encoding.entries) == ("topk", 3)
    for view in (0, 1):
        assert np.abs(decoded(tmp_path / "store", view) - to_logits(top_k(views[view], 3), CLASSES)).max() < 0.02
    assert import_logits(sparse, tmp_path / "store", options).written == 0
    assert verify(store, decode=True).findings == ()


@pytest.mark.parametrize("kind", ["uniform", "spectral", "lossless"])
def test_sparse_rows_are_refused_by_all_else(tmp_path, files, logits, kind):
    options = ImportOptions("big", encoding=EncodingOptions(kind=kind), block=16)
    with pytest.raises(InputError, match=f"the largest entries of each row only; use encoding topk, not {kind}"):
        import_logits(Sparse(tmp_path / "logits.npy", [logits]).source, tmp_path / "store", options)
    assert not (tmp_path / "store").exists()


def test_sparse_rows_with_more_entries_than_asked_are_refused_before_anything_is_written(tmp_path, files, logits):
    options = ImportOptions("big", encoding=EncodingOptions(kind="topk", entries=2), block=16)
    with pytest.raises(InputError, match="up to 3 entries a row; entries = 2 is fewer"):
        import_logits(Sparse(tmp_path / "logits.npy", [logits]).source, tmp_path / "store", options)
    assert not (tmp_path / "store").exists()


def test_lossless_float16_goes_through_unchanged(tmp_path, files, logits):
    half = files("half", logits.astype(np.float16))
    options = ImportOptions("big", encoding=EncodingOptions(kind="lossless", dtype="float16"))
    bring(half, tmp_path / "store", options)
    assert (decoded(tmp_path / "store") == logits.astype(np.float16)).all()
    assert (open_store(tmp_path / "store").labels("train") == -1).all()


def test_what_files_cannot_tell_is_recorded_as_unknown_and_said_later(tmp_path, files):
    bring(tmp_path / "logits.npy", tmp_path / "store")
    store = open_store(tmp_path / "store")
    record = store.logits("big").record
    assert (record.model, record.weights, record.precision) == (UNKNOWN, UNKNOWN, "float32")
    assert record.provenance.startswith("imported from npy with SHA-256 ")
    assert (store.record.dataset, dict(store.record.views)) == (UNKNOWN, {"kind": UNKNOWN})
    assert store.split("train").fingerprint == UNKNOWN
    with pytest.warns(UnknownOriginWarning, match="samples and views its logits are is not known"):
        check_split(store, make_split(SAMPLES, CLASSES), ViewOptions())
    with pytest.raises(MismatchError, match="40 samples"):
        check_split(store, make_split(40, CLASSES), ViewOptions())


@pytest.mark.parametrize("kind", ["uniform", "spectral"])
def test_an_import_that_is_killed_anywhere_goes_on_to_the_same_bytes(tmp_path, files, kind):
    views = files("views", np.stack([realistic(40, 6, seed) for seed in (0, 1)]))
    options = ImportOptions("big", encoding=EncodingOptions(kind=kind, max_kl=0.03), block=16)
    labels = files("few", np.arange(40) % 6)
    bring(views, tmp_path / "whole", options, labels)
    expected, path = tree(tmp_path / "whole"), tmp_path / "store"
    for changes in count():
        with dies_after(changes):
            try:
                bring(views, path, options, labels)
            except KilledError:
                finished = False
            else:
                finished = True
        left = bring(views, path, options, labels)
        assert left.written + left.found == 6
        assert tree(path) == expected, changes
        if finished:
            break
        shutil.rmtree(path)
    assert changes > 30


def test_a_finished_import_says_that_all_is_there(tmp_path, files):
    source, labels, rows = tmp_path / "logits.npy", tmp_path / "labels.npy", []
    bring(source, tmp_path / "store", labels=labels, progress=rows.append)
    assert sum(rows) == SAMPLES
    before = tree(tmp_path / "store")
    for truth in (labels, None):
        outcome = bring(source, tmp_path / "store", labels=truth, progress=rows.append)
        assert (outcome.written, outcome.found) == (0, 4)
    assert sum(rows) == SAMPLES
    assert tree(tmp_path / "store") == before


def spoiled(logits, value, dtype=np.float32):
    bad = np.stack([logits, logits, logits]).astype(dtype)
    bad[2, 7, 2] = value
    return bad


KINDS = {
    "auto": EncodingOptions(),
    "uniform": UNIFORM,
    "spectral": EncodingOptions(kind="spectral"),
    "lossless": EncodingOptions(kind="lossless"),
    "topk": EncodingOptions(kind="topk", entries=2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "bad", [(np.nan, np.float32), (np.inf, np.float32), (-np.inf, np.float16), (1e300, np.float64)], ids=str
)
def test_logits_that_are_not_finite_are_refused_by_view_and_sample(tmp_path, files, logits, kind, bad):
    bad = files("bad", spoiled(logits, *bad))
    with pytest.raises(InputError, match="logits of sample 7 in view 2 are not finite"):
        bring(bad, tmp_path / "store", ImportOptions("big", encoding=KINDS[kind], block=16))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["auto", "uniform", "spectral"])
def test_logits_beyond_int16_are_refused_by_sample_before_anything_is_written(tmp_path, files, logits, kind):
    bad = files("bad", spoiled(logits, 1e6))
    with pytest.raises(InputError, match=r"sample 7 .*(beyond int16|even at step)"):
        bring(bad, tmp_path / "store", ImportOptions("big", encoding=KINDS[kind], block=16))
    assert not (tmp_path / "store").exists()
    if kind == "uniform":
        wide = EncodingOptions(kind=kind, dtype="int32")
        assert bring(bad, tmp_path / "store", ImportOptions("big", encoding=wide, block=16)).written == 12


def test_float32_that_float16_does_not_hold_is_refused_before_anything_is_written(tmp_path, files, logits):
    options = ImportOptions("big", encoding=EncodingOptions(kind="lossless", dtype="float16"))
    with pytest.raises(InputError, match="sample 0 is not exact in float16"):
        bring(tmp_path / "logits.npy", tmp_path / "store", options)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda z: z.astype(np.int64), "int64; expected floating-point logits"),
        (lambda z: z[0], r"shape \(5,\).*expected logits \(samples, classes\)"),
        (lambda z: z[:0], "expected logits"),
        (lambda z: z[None, None], "expected logits"),
        (lambda z: z.astype(complex), "expected floating-point logits"),
    ],
)
def test_arrays_that_are_no_logits_are_refused_and_nothing_is_written(tmp_path, files, logits, make, said):
    with pytest.raises(InputError, match=said):
        bring(files("bad", make(logits)), tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(49, int), "has 49 labels, but there are logits of 50 samples"),
        (np.r_[np.zeros(7, int), 5, np.zeros(42, int)], r"sample 7 has label 5; allowed are 0\.\.4"),
        (np.r_[np.zeros(9, int), -1, np.zeros(40, int)], r"sample 9 has label -1; allowed are 0\.\.4"),
        (np.zeros(50), "no array of integers"),
        (np.zeros((50, 1), int), r"no array of integers \(samples,\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, files, labels, said):
    with pytest.raises(InputError, match=said):
        bring(tmp_path / "logits.npy", tmp_path / "store", labels=files("bad", labels))
    assert not (tmp_path / "store").exists()


def test_labels_that_are_no_file_are_refused(tmp_path, files):
    (tmp_path / "text.npy").write_text("not numbers")
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    for name in ("absent.npy", "text.npy", "many.npz", "objects.npy"):
        with pytest.raises(InputError, match=name):
            bring(tmp_path / "logits.npy", tmp_path / "store", labels=tmp_path / name)
    assert not (tmp_path / "store").exists()


def test_what_differs_from_the_store_is_refused_and_changes_nothing(tmp_path, files, logits):
    with dies_after(22), pytest.raises(KilledError):
        bring(tmp_path / "logits.npy", tmp_path / "store", labels=tmp_path / "labels.npy")
    before = tree(tmp_path / "store")
    good, labels = tmp_path / "logits.npy", tmp_path / "labels.npy"
    coarse = replace(OPTIONS, encoding=EncodingOptions(kind="uniform", step=0.5))
    for source, options, truth, said in (
        (files("other", logits + 1), OPTIONS, labels, "provenance"),
        (files("few", logits[:40]), OPTIONS, None, "the store has 50, given was 40"),
        (files("wide", np.c_[logits, logits]), ImportOptions("new"), None, "the list of classes|the data set"),
        (good, OPTIONS, files("others", np.zeros(SAMPLES, int)), "the labels of split 'train' differs"),
        (good, coarse, labels, "the encoding"),
        (good, replace(OPTIONS, encoding=EncodingOptions(max_kl=0.01)), labels, "the encoding"),
        (good, replace(OPTIONS, block=25), labels, "block_rows|chunk"),
    ):
        with pytest.raises(MismatchError, match=said):
            bring(source, tmp_path / "store", options, truth)
        assert tree(tmp_path / "store") == before


def test_another_file_is_refused_by_a_spectral_store_too(tmp_path, files):
    options = ImportOptions("big", encoding=EncodingOptions(kind="spectral", max_kl=0.01))
    bring(files("mine", realistic(60)), tmp_path / "store", options)
    before = tree(tmp_path / "store")
    with pytest.raises(MismatchError, match="provenance"):
        bring(files("other", realistic(60, seed=1)), tmp_path / "store", options)
    assert tree(tmp_path / "store") == before


def test_a_second_teacher_joins_the_split_and_keeps_its_labels(tmp_path, files, logits):
    bring(tmp_path / "logits.npy", tmp_path / "store", labels=tmp_path / "labels.npy")
    bring(files("other", -logits), tmp_path / "store", ImportOptions("other"))
    bring(files("tests", logits[:20]), tmp_path / "store", ImportOptions("big", split="test"))
    store = open_store(tmp_path / "store")
    assert (store.teachers("train"), store.teachers("test")) == (("big", "other"), ("big",))
    assert (store.labels("train") == np.arange(SAMPLES) % CLASSES).all()
    assert np.abs(decoded(tmp_path / "store", teacher="other") + logits).max() < 0.1
