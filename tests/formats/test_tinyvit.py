"""TinyViT's directories are read as its own reader would, whatever order the ranks wrote in; broken ones are named."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source

CLASSES = 6
KEYS = ["cat/b.jpg", "cat/a.jpg", "dog/c.jpg", "ant/z.jpg", "dog/b.jpg"]


def record(classes, probs, seed=7):
    k = len(classes)
    return struct.pack(f"<i{k}h{k}e", seed, *classes, *probs)


def write_rank(folder, rank, rows):
    """``rows``: (key, classes, probabilities) in the order of writing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"rank{rank}-keys.txt").write_text("".join(f"{key}\n" for key, _, _ in rows))
    (folder / f"rank{rank}-values.bin").write_bytes(b"".join(record(c, p) for _, c, p in rows))


def rows_of(epoch, keys=KEYS):
    """Two entries a key, other ones in each epoch."""
    made = []
    for number, key in enumerate(keys):
        first = (number + epoch) % CLASSES
        made.append((key, [first, (first + 1) % CLASSES], [0.5, 0.25]))
    return made


@pytest.fixture
def folder(tmp_path):
    """Two epochs of five samples by two ranks."""
    for epoch in (0, 1):
        rows = rows_of(epoch)
        write_rank(tmp_path / "log" / f"logits_top2_epoch{epoch}", 0, rows[:3])
        write_rank(tmp_path / "log" / f"logits_top2_epoch{epoch}", 1, rows[3:])
    return tmp_path / "log"


def load(path, classes=CLASSES, **options):
    return open_source(path, SourceOptions(classes=classes, **options))


def test_samples_stand_by_name_and_epochs_are_views(folder):
    source = load(folder)
    assert (source.format, source.views, source.samples, source.classes) == ("tinyvit", 2, 5, CLASSES)
    assert (source.precision, source.sparse) == ("float16", 2)
    by_name = sorted(range(5), key=lambda number: KEYS[number])
    for view in (0, 1):
        rows = source.read(view, range(1, 5))
        assert rows.classes[:, 0].tolist() == [(number + view) % CLASSES for number in by_name[1:]]
        assert np.exp(rows.log_probs) == pytest.approx(np.tile([0.5, 0.25], (4, 1)))
        assert np.exp(rows.tail) == pytest.approx(0.25)


def test_one_epochs_folder_is_a_source_too(folder):
    assert load(folder / "logits_top2_epoch1").views == 1
    one = load(folder / "logits_top2_epoch1").read(0, range(5))
    assert (one.classes == load(folder).read(1, range(5)).classes).all()


def test_numbers_as_names_are_in_the_order_of_numbers(tmp_path):
    rows = rows_of(0, [str(number) for number in range(12)])
    write_rank(tmp_path / "logits_top2_epoch0", 0, rows[::-1])
    found = load(tmp_path).read(0, range(12))
    assert found.classes[:, 0].tolist() == [number % CLASSES for number in range(12)]


def test_a_padded_sample_of_two_ranks_counts_once(folder):
    write_rank(folder / "logits_top2_epoch0", 2, [(KEYS[0], [5, 4], [0.5, 0.25])])
    source = load(folder)
    assert source.samples == 5
    at = sorted(KEYS).index(KEYS[0])
    assert source.read(0, range(at, at + 1)).classes.tolist() == [[0, 1]], "the lowest rank's record counts"


def test_probabilities_that_float16_cannot_hold_are_no_entries(tmp_path):
    write_rank(tmp_path / "logits_top2_epoch0", 0, [("a", [3, 0], [1.0, 0.0])])
    rows = load(tmp_path).read(0, range(1))
    assert rows.classes.tolist() == [[3, -1]]
    assert np.isneginf(rows.log_probs[0, 1])
    assert np.isneginf(rows.tail).all()


def test_the_number_of_classes_must_be_given(folder):
    with pytest.raises(InputError, match="does not say how many classes there are; give classes"):
        load(folder, None)
    for classes in (1, 2**15 + 1):
        with pytest.raises(InputError, match=f"top-2 of {classes} classes; TinyViT's have K <= classes <= 32768"):
            load(folder, classes)
    with pytest.raises(InputError, match="at temperature 1; leave tau out"):
        load(folder, tau=2.0)


def test_values_that_are_cut_short_are_refused(folder):
    path = folder / "logits_top2_epoch1" / "rank0-values.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"epoch1/rank0-values.bin is cut short: 35 bytes, records have 12"):
        load(folder)


def test_names_and_records_must_be_equally_many(folder):
    path = folder / "logits_top2_epoch0" / "rank0-keys.txt"
    path.write_text("cat/b.jpg\ncat/a.jpg\n")
    with pytest.raises(InputError, match=r"rank0-keys.txt has 2 names, but rank0-values.bin 3 records"):
        load(folder)


def test_another_k_in_the_name_is_noticed(folder):
    for epoch in (0, 1):
        (folder / f"logits_top2_epoch{epoch}").rename(folder / f"logits_top5_epoch{epoch}")
    with pytest.raises(InputError, match=r"cut short|names, but"):
        load(folder)
    (folder / "logits_top5_epoch1").rename(folder / "logits_top2_epoch1")
    with pytest.raises(InputError, match="epochs of different K"):
        load(folder)


def test_a_name_twice_in_a_rank_is_refused(folder):
    path = folder / "logits_top2_epoch0" / "rank0-keys.txt"
    path.write_text("a\nb\na\n")
    with pytest.raises(InputError, match="has a name twice"):
        load(folder)


def test_a_rank_without_its_other_file_is_refused(folder):
    (folder / "logits_top2_epoch1" / "rank1-values.bin").unlink()
    with pytest.raises(InputError, match=r"rank1-values.bin is missing"):
        load(folder)


def test_epochs_of_other_samples_are_refused(folder):
    (folder / "logits_top2_epoch1" / "rank1-keys.txt").write_text("x\ny\n")
    source = load(folder)
    source.read(0, range(5))
    with pytest.raises(InputError, match=r"epoch1 has other samples than .*epoch0"):
        source.read(1, range(5))


@pytest.mark.parametrize(
    ("classes", "probs", "message"),
    [
        ([1, 6], [0.5, 0.2], r"'a' has class 6; allowed are 0\.\.5"),
        ([1, -3], [0.5, 0.2], "has class -3; allowed"),
        ([1, 1], [0.5, 0.2], "has class 1 twice"),
        ([1, 2], [0.9, 0.2], "has probabilities that sum to 1.1"),
        ([1, 2], [float("nan"), 0.2], "sum to nan"),
        ([1, 2], [0.5, -0.2], "sum to nan"),
        ([1, 2], [0.0, 0.0], "has no entry with a probability above 0"),
    ],
)
def test_records_that_cannot_be_are_named(tmp_path, classes, probs, message):
    write_rank(tmp_path / "logits_top2_epoch0", 0, [("b", [0, 1], [0.5, 0.2]), ("a", classes, probs)])
    with pytest.raises(InputError, match=message):
        load(tmp_path).read(0, range(2))


def test_a_name_that_claims_a_huge_k_allocates_nothing(tmp_path):
    (tmp_path / "logits_top9999999999_epoch0").mkdir()
    (tmp_path / "logits_top9999999999_epoch0" / "rank0-keys.txt").write_text("a\n")
    (tmp_path / "logits_top9999999999_epoch0" / "rank0-values.bin").write_bytes(bytes(100))
    with pytest.raises(InputError, match="cut short"):
        load(tmp_path)
