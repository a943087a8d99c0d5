"""Which labels count: label quality looks at noisy ones where there are any, all else at true classes, or as told."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Plan
from stored_logits import memory_store

from logitcache import statistics
from logitcache.errors import InputError
from logitcache.statistics.block import Block
from logitcache.statistics.labels import labels_of, read_choice
from logitcache.store import open_store

NOISE = {"kind": "symmetric", "rate": 0.3, "seed": 0, "labels": "1" * 16}
PLAN = Plan(samples=30, noise=NOISE)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with noisy labels, of which every third is wrong."""
    path = tmp_path_factory.mktemp("noisy") / "store.zarr"
    PLAN.write(path)
    return open_store(path)


def measured(store, **options):
    """Accuracy, and what is said of label quality."""
    tree = statistics.compute(store, ["agreement", "labels"], **options)
    found = tree["labels"].to_dataset().isel(teacher=0, split=0)
    return tree["agreement"].accuracy.isel(teacher=0, split=0).item(), found


def accuracy(labels):
    return 100 * (stored().argmax(1) == labels).mean()


def stored():
    return PLAN.logits[0]


def test_label_quality_is_that_of_the_noisy_labels_and_accuracy_of_the_true_classes(store):
    right, found = measured(store)
    assert right == pytest.approx(accuracy(PLAN.labels))
    assert float(found.label_contradicted) == pytest.approx(100 - accuracy(PLAN.noisy_labels))
    assert float(found.label_wrong) == pytest.approx(100 * (PLAN.labels != PLAN.noisy_labels).mean())
    rows = found.suspect_row.values.astype(int)
    assert sorted(rows) == np.flatnonzero(stored().argmax(1) != PLAN.noisy_labels).tolist()
    assert found.suspect_label.values.tolist() == PLAN.noisy_labels[rows].tolist()
    assert found.suspect_true.values.tolist() == PLAN.labels[rows].tolist()
    p = np.exp(stored().astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    assert found.suspect_p_label.values == pytest.approx(p[rows, PLAN.noisy_labels[rows]], abs=1e-2)


@pytest.mark.parametrize(("choice", "labels"), [("clean", PLAN.labels), ("noisy", PLAN.noisy_labels)])
def test_one_kind_of_labels_can_count_for_all(store, choice, labels):
    right, found = measured(store, labels=choice)
    assert right == pytest.approx(accuracy(labels))
    assert float(found.label_contradicted) == pytest.approx(100 - right)
    assert np.isnan(found.label_wrong)
    assert set(found.suspect_true.values) == {-1}


def test_ones_own_labels_count_for_all(store):
    own = stored().argmax(1).astype(np.int32)
    own[::2] = -1
    right, found = measured(store, labels={"train": own})
    assert right == 100
    assert int(found.label_rows) == 15
    assert float(found.label_contradicted) == 0


def test_a_part_of_a_block_has_its_own_labels_of_both_kinds():
    block = Block(stored(), PLAN.labels, given=np.where(PLAN.noisy_labels == 3, 9, PLAN.noisy_labels))
    part = block.cut(slice(5, 21))
    assert part.labels.tolist() == PLAN.labels[5:21].tolist()
    assert part.given.tolist() == [-1 if label == 3 else label for label in PLAN.noisy_labels[5:21]]
    alike = Block(stored(), PLAN.labels).cut(slice(5, 21))
    assert alike.given is alike.labels


def test_what_is_true_is_told_from_what_is_given_by_split():
    store = memory_store()
    store.noisy = {"train": (store.truth["train"] + 1) % 7}
    auto, noisy = (labels_of(store, "train", choice) for choice in ("auto", "noisy"))
    assert auto.true is store.truth["train"]
    assert auto.given is store.noisy["train"]
    assert noisy.true is store.noisy["train"]
    assert noisy.given is None
    for choice in ("auto", "clean", "noisy"):
        assert labels_of(store, "test", choice).true is store.truth["test"]
        assert labels_of(store, "test", choice).given is None
    assert labels_of(store, "train", {"test": np.zeros(53, np.int64)}).given is store.noisy["train"]


def test_labels_that_nobody_knows_can_be_given():
    store = memory_store()
    store.truth = {split: np.full(53, -1) for split in store.truth}
    with pytest.raises(InputError, match=r"--labels SPLIT=FILE\.npy"):
        statistics.compute(store, ["labels"])
    found = statistics.compute(store, ["labels", "agreement"], labels={"test": np.arange(53) % 7})
    assert found["labels"].split.values.tolist() == ["test"]
    assert (found["agreement"].samples == 53).all()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("noisy", "memory has no noisy labels; leave out"),
        ("dirty", "labels = 'dirty': allowed are auto, clean, noisy"),
        ({"val": np.zeros(53, np.int64)}, "split 'val' were given; memory has train, test"),
        ({"train": np.zeros(52, np.int64)}, r"int64 of shape \(52,\); give integers \(53,\)"),
        ({"train": np.zeros(53)}, r"float64 of shape \(53,\); give integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(choice, message):
    store = memory_store()
    with pytest.raises(InputError, match=message):
        statistics.compute(store, ["moments"], labels=choice)
    assert not any(reader.reads for reader in store.readers.values())


def test_the_command_line_says_which_labels(tmp_path):
    store = memory_store()
    assert read_choice([], store) == "auto"
    assert read_choice(["noisy"], store) == "noisy"
    for split in ("train", "test"):
        np.save(tmp_path / f"{split}.npy", np.arange(53, dtype=np.uint8))
    found = read_choice([f"{split}={tmp_path / split}.npy" for split in ("train", "test")], store)
    assert set(found) == {"train", "test"}
    for labels in found.values():
        assert labels.dtype == np.int64
        assert labels.tolist() == list(range(53))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dirty"], "--labels dirty: say auto, clean or noisy once, or SPLIT=FILE.npy"),
        (["clean", "train=x.npy"], "--labels clean: say"),
        (["train="], "--labels train=: say"),
        (["train=none.npy"], "none.npy cannot be read"),
        (["train={}/floats.npy"], "holds no array of integers"),
        (["train={}/short.npy"], r"shape \(3,\); give integers \(53,\)"),
        (["val={}/short.npy"], "'val' were given"),
    ],
)
def test_what_is_said_wrongly_of_labels_is_refused(tmp_path, words, message):
    np.save(tmp_path / "floats.npy", np.zeros(53))
    np.save(tmp_path / "short.npy", np.zeros(3, np.int64))
    with pytest.raises(InputError, match=message):
        read_choice([word.format(tmp_path) for word in words], memory_store())
