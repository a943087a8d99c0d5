"""Logits go from plain files into a store and back within the bound; what does not fit leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
from builders import KilledError, dies_after, tree

from logitcache.errors import DamageError, InputError, MismatchError, MissingError
from logitcache.store import EncodingOptions, open_store
from logitcache.store.encodings import kl_bound
from logitcache.store.transfer import ImportOptions, export_logits, import_logits

SAMPLES, CLASSES = 50, 5
OPTIONS = ImportOptions("big", block=16)


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


def largest_kl(logits, decoded, tau):
    p, q = (z.astype(np.float64) / tau for z in (logits, decoded))
    p, q = (z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in (p, q))
    return (np.exp(p) * (p - q)).sum(axis=1).max()


def test_a_round_trip_keeps_every_row_within_the_bound(tmp_path, files, logits):
    written = import_logits(tmp_path / "logits.npy", tmp_path / "store", OPTIONS, tmp_path / "labels.npy")
    store = open_store(tmp_path / "store")
    assert export_logits(store, tmp_path / "out.npy", teacher="big") == (SAMPLES, CLASSES)
    out = np.load(tmp_path / "out.npy")
    assert (written, out.dtype, out.shape) == (4, np.float32, logits.shape)
    assert np.abs(out - logits).max() <= store.logits("big").encoding.step / 2
    for tau in (1, 1.7, 4, 20):
        assert largest_kl(logits, out, tau) <= kl_bound(store.logits("big").encoding.step, tau) <= 1e-3
    assert (store.labels("train") == np.arange(SAMPLES) % CLASSES).all()


def test_lossless_float16_goes_through_unchanged(tmp_path, files, logits):
    half = files("half", logits.astype(np.float16))
    options = ImportOptions("big", encoding=EncodingOptions(kind="lossless", dtype="float16"))
    import_logits(half, tmp_path / "store", options)
    export_logits(open_store(tmp_path / "store"), tmp_path / "out.npy", teacher="big")
    assert (np.load(tmp_path / "out.npy") == logits.astype(np.float16)).all()
    assert (open_store(tmp_path / "store").labels("train") == -1).all()


def test_views_come_from_a_file_of_three_dimensions(tmp_path, files, logits):
    views = np.stack([logits, logits + 1, logits - 1])
    import_logits(files("views", views), tmp_path / "store", OPTIONS)
    store = open_store(tmp_path / "store")
    assert store.logits("big").views == 3
    for view in range(3):
        export_logits(store, tmp_path / f"out{view}.npy", teacher="big", view=view)
        error = np.load(tmp_path / f"out{view}.npy") - views[view]
        assert np.abs(error).max() <= store.logits("big").encoding.step / 2
    with pytest.raises(InputError, match="view 3, block 0 asked"):
        export_logits(store, tmp_path / "out.npy", teacher="big", view=3)


def test_an_interrupted_import_goes_on(tmp_path, files):
    source, labels = tmp_path / "logits.npy", tmp_path / "labels.npy"
    import_logits(source, tmp_path / "whole", OPTIONS, labels)
    with dies_after(15), pytest.raises(KilledError):
        import_logits(source, tmp_path / "store", OPTIONS, labels)
    rows = []
    left = import_logits(source, tmp_path / "store", OPTIONS, labels, progress=rows.append)
    assert 0 < left < 4
    assert len(rows) == left
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")
    assert import_logits(source, tmp_path / "store", OPTIONS, labels) == 0
    assert import_logits(source, tmp_path / "store", OPTIONS) == 0


def spoiled(logits, value, dtype=np.float32):
    bad = np.stack([logits, logits]).astype(dtype)
    bad[1, 33, 2] = value
    return bad


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda z: spoiled(z, np.nan), "sample 33 in view 1 are not finite"),
        (lambda z: spoiled(z, np.inf), "sample 33 in view 1 are not finite"),
        (lambda z: spoiled(z, 1e300, np.float64), "sample 33 in view 1 are not finite"),
        (lambda z: spoiled(z, 1e6), "sample 33 needs codes beyond int16"),
        (lambda z: z.astype(np.int64), "int64; expected floating-point logits"),
        (lambda z: z[0], r"shape \(5,\).*expected floating-point logits \(samples, classes\)"),
        (lambda z: z[:0], "expected floating-point logits"),
        (lambda z: z[None, None], "expected floating-point logits"),
        (lambda z: z.astype(complex), "expected floating-point logits"),
    ],
)
def test_logits_that_are_none_are_refused_and_nothing_is_written(tmp_path, files, logits, make, said):
    with pytest.raises(InputError, match=said):
        import_logits(files("bad", make(logits)), tmp_path / "store", OPTIONS)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(49, int), "has 49 labels, but there are logits of 50 samples"),
        (np.r_[np.zeros(7, int), 5, np.zeros(42, int)], r"sample 7 has label 5; allowed are 0\.\.4"),
        (np.r_[np.zeros(9, int), -1, np.zeros(40, int)], r"sample 9 has label -1; allowed are 0\.\.4"),
        (np.zeros(50), "expected integers"),
        (np.zeros((50, 1), int), r"shape \(50, 1\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, files, labels, said):
    with pytest.raises(InputError, match=said):
        import_logits(tmp_path / "logits.npy", tmp_path / "store", OPTIONS, files("bad", labels))
    assert not (tmp_path / "store").exists()


def test_files_that_are_no_arrays_are_refused(tmp_path, files):
    (tmp_path / "text.npy").write_text("not numbers")
    np.savez(tmp_path / "many.npz", a=np.zeros(3), b=np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    whole = (tmp_path / "logits.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-100])
    for name, said in (
        ("absent.npy", "is not a file"),
        ("text.npy", "not a whole .npy file"),
        ("many.npz", "several arrays"),
        ("objects.npy", "not a whole .npy file of numbers"),
        ("cut.npy", "not a whole .npy file"),
    ):
        with pytest.raises(InputError, match=said):
            import_logits(tmp_path / name, tmp_path / "store", OPTIONS)
    assert not (tmp_path / "store").exists()


def test_what_differs_from_the_store_is_refused_and_changes_nothing(tmp_path, files, logits):
    import_logits(tmp_path / "logits.npy", tmp_path / "store", OPTIONS, tmp_path / "labels.npy")
    before = tree(tmp_path / "store")
    good, labels = tmp_path / "logits.npy", tmp_path / "labels.npy"
    for source, options, truth, said in (
        (files("other", logits + 1), OPTIONS, labels, "provenance .*SHA-256|provenance .*fingerprint"),
        (files("few", logits[:40]), OPTIONS, None, "the store has 50, given was 40"),
        (files("wide", np.c_[logits, logits]), ImportOptions("new"), None, "the list of classes|the data set"),
        (good, OPTIONS, files("others", np.zeros(SAMPLES, int)), "the labels of split 'train' differs"),
        (good, ImportOptions("big", encoding=EncodingOptions(step=0.5), block=16), labels, "the encoding"),
    ):
        with pytest.raises(MismatchError, match=said):
            import_logits(source, tmp_path / "store", options, truth)
        assert tree(tmp_path / "store") == before


def test_a_second_teacher_joins_the_split_and_keeps_its_labels(tmp_path, files, logits):
    import_logits(tmp_path / "logits.npy", tmp_path / "store", OPTIONS, tmp_path / "labels.npy")
    import_logits(files("other", -logits), tmp_path / "store", ImportOptions("other"))
    store = open_store(tmp_path / "store")
    assert store.teachers("train") == ("big", "other")
    assert (store.labels("train") == np.arange(SAMPLES) % CLASSES).all()


def test_export_never_overwrites_and_leaves_no_half_file(tmp_path, files):
    import_logits(tmp_path / "logits.npy", tmp_path / "store", OPTIONS)
    store = open_store(tmp_path / "store")
    out = tmp_path / "outs"
    with pytest.raises(InputError, match="is not a folder"):
        export_logits(store, out / "out.npy", teacher="big")
    out.mkdir()
    (out / "there.npy").write_text("mine")
    with pytest.raises(InputError, match="exists; remove it"):
        export_logits(store, out / "there.npy", teacher="big")
    with pytest.raises(InputError, match="no teacher 'small'"):
        export_logits(store, out / "out.npy", teacher="small")
    (tmp_path / "store/train/teachers/big/logits/c/0/3/0").write_bytes(b"")
    with pytest.raises(DamageError, match="block 3 of view 0"):
        export_logits(open_store(tmp_path / "store"), out / "out.npy", teacher="big")
    (tmp_path / "store/train/teachers/big/logits/commits/0.json").unlink()
    with pytest.raises(MissingError, match="block 0 of view 0"):
        export_logits(open_store(tmp_path / "store"), out / "out.npy", teacher="big")
    assert [file.name for file in out.iterdir()] == ["there.npy"]
    assert (out / "there.npy").read_text() == "mine"
