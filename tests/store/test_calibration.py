"""The encoding that is chosen is the smallest that keeps what was asked, and the choice is the same another time."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import Plan, tree
from textbook import realistic
from textbook import worst_kl as true_worst

from logitcache.errors import InputError
from logitcache.store import (
    Encoding,
    EncodingOptions,
    Sample,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    answers,
    calibration,
    choose_encoding,
    create_store,
    open_store,
    resolve,
)
from logitcache.store.choices import sample_rows, stored_choice
from logitcache.store.encodings import make_codec

ROWS, CLASSES = 1600, 80
MANY = 10**6
"""Rows of a store that the transform's bytes hardly weigh in."""


@pytest.fixture(scope="module")
def logits():
    return realistic(ROWS, CLASSES)


def sample(logits, rows=MANY):
    return Sample(torch.from_numpy(logits), rows)


def written(folder, choice, logits):
    """Bytes a row of a store on the disk, transform aside."""
    rows, classes = logits.shape
    record = TeacherRecord("t", "", "", "", "", choice.encoding, 1, rows, classes, rows, rows)
    index = np.arange(rows)
    [writer] = create_store(
        folder,
        StoreRecord("d", tuple(map(str, range(classes))), {}),
        [SplitContent(SplitRecord("train", rows, ""), index, index)],
        [TeacherContent("train", record, choice.wholes)],
    )
    writer.write(0, 0, logits)
    files = (folder / "train/teachers/t" / name / "c" for name in record.arrays)
    return sum(file.stat().st_size for each in files for file in each.rglob("*") if file.is_file()) / rows


def candidates(encoding):
    """Name and bytes a row of every candidate that a reason tells."""
    told = encoding.reason.partition("included: ")[2]
    return [(name, float(size)) for name, size in re.findall(r"([a-z][^,]*?) ([0-9.]+)(?:, |$)", told)]


def test_auto_takes_what_is_smallest_on_the_disk(tmp_path, logits, unsynced):
    options = EncodingOptions(max_kl=0.01)
    chosen = choose_encoding(options, sample(logits))
    assert chosen.encoding.kind == "spectral"
    ours = written(tmp_path / "auto", chosen, logits)
    others = {"kind": "uniform"}, {"kind": "spectral", "head": 0}, {"kind": "spectral", "head": 8}
    for number, other in enumerate(others):
        asked = EncodingOptions(max_kl=0.01, **other)
        assert ours < 1.03 * written(tmp_path / str(number), choose_encoding(asked, sample(logits)), logits)


def test_the_bytes_of_the_reason_are_those_on_the_disk(tmp_path, logits, unsynced):
    asked = EncodingOptions(max_kl=0.01), EncodingOptions(kind="spectral", head=8, max_kl=0.1)
    for number, options in enumerate(asked):
        chosen = choose_encoding(options, sample(logits))
        told = min(size for _, size in candidates(chosen.encoding))
        assert told == pytest.approx(written(tmp_path / str(number), chosen, logits), rel=0.1)


@pytest.mark.parametrize(
    ("options", "classes", "names"),
    [
        (EncodingOptions(max_kl=0.1), 80, ["uniform", *["spectral"] * 2, *["spectral head 8"] * 2]),
        (EncodingOptions(max_kl=0.1), 20, ["uniform", "spectral", "spectral"]),
        (EncodingOptions(kind="spectral", max_kl=0.1), 20, ["spectral", "spectral"]),
        (EncodingOptions(kind="spectral", head=3, max_kl=0.1), 20, ["spectral head 3"] * 2),
        (EncodingOptions(kind="spectral", step=1), 80, ["spectral", "spectral head 8"]),
        (EncodingOptions(kind="uniform", bytes_per_row=20), 20, ["uniform"]),
        (EncodingOptions(bytes_per_row=40), 80, ["uniform", "spectral", "spectral head 8"]),
    ],
)
def test_the_reason_names_all_candidates_with_their_bytes(options, classes, names):
    encoding = choose_encoding(options, sample(realistic(ROWS, classes))).encoding
    assert encoding.reason.startswith("bytes a row on 400 held-out rows, transform included: ")
    assert [re.sub(r" step [0-9.]+", "", name) for name, _ in candidates(encoding)] == names


def test_a_transform_that_few_rows_share_is_not_worth_it(logits):
    kinds = [choose_encoding(EncodingOptions(max_kl=0.01), sample(logits, rows)).encoding.kind for rows in (100, MANY)]
    assert kinds == ["uniform", "spectral"]


@pytest.mark.parametrize("rows", [1, 2, 5, 20])
def test_rows_too_few_to_span_the_others_make_uniform(logits, rows):
    chosen = choose_encoding(EncodingOptions(max_kl=0.01), sample(logits[:rows]))
    assert (chosen.encoding.kind, chosen.wholes) == ("uniform", {})


def test_logits_that_never_change_make_uniform():
    constant = np.full((50, 5), 3, np.float32)
    assert choose_encoding(EncodingOptions(), sample(constant)).encoding.kind == "uniform"
    with pytest.raises(InputError, match="no spectral encoding keeps max_kl"):
        choose_encoding(EncodingOptions(kind="spectral"), sample(constant))


def test_rows_in_the_order_of_their_classes_make_as_good_a_choice(tmp_path, logits, unsynced):
    """Rows held out, and rows that the transform is made of, are both from everywhere."""
    label = logits.argmax(axis=1)
    apart = logits + 12 * np.eye(CLASSES, dtype=np.float32)[label]
    ordered = apart[np.argsort(label, kind="stable")]
    options = EncodingOptions(kind="spectral", head=0, max_kl=0.01)
    shuffled, in_order = (choose_encoding(options, sample(rows)).encoding for rows in (apart, ordered))
    found = [min(size for _, size in candidates(encoding)) for encoding in (shuffled, in_order)]
    assert found[1] == pytest.approx(found[0], rel=0.05)


@pytest.mark.parametrize("kind", ["auto", "uniform", "spectral"])
@pytest.mark.parametrize("wanted", [25, 60])
def test_bytes_a_row_are_what_was_asked_for(tmp_path, logits, unsynced, kind, wanted):
    options = EncodingOptions(kind=kind, bytes_per_row=wanted)
    chosen = choose_encoding(options, sample(logits))
    assert written(tmp_path, chosen, logits) == pytest.approx(wanted, rel=0.1)
    assert chosen.encoding.max_kl > 0


def test_a_promise_that_follows_from_bytes_is_kept(logits):
    chosen = choose_encoding(EncodingOptions(kind="spectral", bytes_per_row=40), sample(logits))
    codec = make_codec(chosen.encoding, CLASSES, chosen.wholes)
    encoded = codec.encode(logits)
    assert encoded.fidelity.refined < 0.1 * ROWS
    assert true_worst(logits, codec.decode(encoded.values), 1.0, 41).max() <= chosen.encoding.max_kl


def test_more_bytes_make_a_better_promise(logits):
    promises = [
        choose_encoding(EncodingOptions(kind="spectral", bytes_per_row=size), sample(logits)).encoding.max_kl
        for size in (20, 40, 80)
    ]
    assert promises[0] > 3 * promises[1] > 9 * promises[2]


def test_bytes_that_no_step_takes_are_refused(logits):
    with pytest.raises(InputError, match=r"bytes_per_row = 0\.5 is less than any step takes here, .*; give more"):
        choose_encoding(EncodingOptions(bytes_per_row=0.5), sample(logits))


def test_bytes_for_steps_finer_than_the_codes_type_holds_take_the_finest_that_fits():
    wide = realistic(400, 20) * 100
    chosen = choose_encoding(EncodingOptions(kind="uniform", bytes_per_row=200), sample(wide))
    finest = np.abs(wide[::4]).max() / 2**15
    assert finest < chosen.encoding.step < 1.05 * finest


def test_a_step_given_by_hand_promises_nothing(logits):
    chosen = choose_encoding(EncodingOptions(kind="spectral", step=0.7), sample(logits))
    assert chosen.encoding.max_kl is None
    assert 0.69 < chosen.encoding.step <= 0.7
    plain = choose_encoding(EncodingOptions(kind="uniform", step=0.5))
    assert (plain.encoding.step, plain.wholes) == (0.5, {})


@pytest.mark.parametrize("options", [{}, {"kind": "spectral", "head": 8}, {"bytes_per_row": 30}])
def test_the_same_sample_gives_the_same_bytes(logits, options):
    first, second = (choose_encoding(EncodingOptions(**options), sample(logits.copy())) for _ in range(2))
    assert first.encoding == second.encoding
    assert {n: a.tobytes() for n, a in first.wholes.items()} == {n: a.tobytes() for n, a in second.wholes.items()}


def test_the_transform_is_made_of_the_whole_sample(logits):
    chosen = choose_encoding(EncodingOptions(kind="spectral"), sample(logits))
    np.testing.assert_allclose(chosen.wholes["mean"], logits.mean(axis=0), atol=1e-4)
    assert chosen.encoding.components == len(chosen.wholes["basis"]) == len(chosen.wholes["spread"])


def test_a_head_as_large_as_the_row_is_refused():
    with pytest.raises(InputError, match="head = 8 entries of 8 classes; give fewer"):
        choose_encoding(EncodingOptions(kind="spectral", head=8), sample(realistic(200, 8)))


def test_many_classes_are_tried_on_few_rows_and_the_transform_has_them_all(monkeypatch, logits):
    monkeypatch.setattr(calibration, "_TRIAL_VALUES", 40 * CLASSES)
    chosen = choose_encoding(EncodingOptions(kind="spectral"), sample(logits))
    assert chosen.encoding.reason.startswith("bytes a row on 40 held-out rows")
    np.testing.assert_allclose(chosen.wholes["mean"], logits.mean(axis=0), atol=1e-4)


def test_a_sample_is_asked_for_where_one_is_needed():
    for kind in ("auto", "spectral"):
        with pytest.raises(InputError, match=f"encoding '{kind}' needs a sample of the teacher's logits"):
            choose_encoding(EncodingOptions(kind=kind))
    for kind in ("uniform", "lossless", "topk"):
        assert choose_encoding(EncodingOptions(kind=kind)).encoding == resolve(EncodingOptions(kind=kind))


def test_a_row_of_the_sample_that_cannot_be_stored_is_named_by_its_index(logits):
    outlier = logits.copy()
    outlier[800] *= 1e6
    index = 5 + 10 * np.arange(ROWS)
    given = replace(sample(outlier), index=index)
    with pytest.raises(InputError, match="sample 8005 needs codes beyond int16"):
        choose_encoding(EncodingOptions(kind="uniform", bytes_per_row=80), given)
    with pytest.raises(InputError, match="sample 8005 needs codes beyond int16"):
        choose_encoding(EncodingOptions(kind="spectral", max_kl=1e-3), given)


def test_samples_have_five_rows_a_class_or_what_ranks_need():
    assert sample_rows(10**7, 1000) == 5000
    assert sample_rows(10**7, 10) == 4096
    assert sample_rows(10**7, 2048) == 5 * 2048
    assert sample_rows(10**7, 20_000) == 4096  # the rank counts, not the classes
    assert sample_rows(300, 1000) == 300


ASKED = [
    EncodingOptions(),
    EncodingOptions(max_kl=0.1),
    EncodingOptions(bytes_per_row=30),
    EncodingOptions(kind="uniform", bytes_per_row=30),
    EncodingOptions(kind="spectral"),
    EncodingOptions(kind="spectral", head=0),
    EncodingOptions(kind="spectral", precision="bf16", max_kl=0.1),
    EncodingOptions(kind="spectral", step=1),
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_was_asked_is_remembered_and_told_from_all_else(logits, asked):
    encoding = choose_encoding(asked, sample(logits[:200])).encoding
    again = Encoding(**encoding.to_json())
    assert [options for options in ASKED if answers(again, options)] == [asked]
    assert not answers(again, asked.model_copy(update={"tau_min": 2.0}))
    assert not answers(again, asked.model_copy(update={"codec": "portable"}))


def test_encodings_that_nobody_chose_answer_to_what_they_are():
    plain = resolve(EncodingOptions(kind="uniform"))
    assert answers(plain, EncodingOptions(kind="uniform"))
    assert answers(plain, EncodingOptions())  # it is what auto might have chosen
    for other in (*ASKED[1:], EncodingOptions(kind="uniform", max_kl=0.1), EncodingOptions(kind="lossless")):
        assert not answers(plain, other)


PLAN = Plan(samples=60, classes=4, encoding=EncodingOptions(kind="spectral", max_kl=0.01), views=1, block_rows=60)


def test_a_stores_own_choice_is_found_again(tmp_path, unsynced):
    path = tmp_path / "store"
    assert stored_choice(path, "train", "big", PLAN.encoding) is None
    PLAN.write(path)
    before = tree(path)
    choice, record = stored_choice(path, "train", "big", PLAN.encoding)
    assert choice.encoding == record.encoding == PLAN.choice.encoding
    assert {n: a.tobytes() for n, a in choice.wholes.items()} == {n: a.tobytes() for n, a in PLAN.choice.wholes.items()}
    for split, teacher, options in [
        ("test", "big", PLAN.encoding),
        ("train", "small", PLAN.encoding),
        ("train", "big", EncodingOptions()),
    ]:
        assert stored_choice(path, split, teacher, options) is None
    assert tree(path) == before
    assert open_store(path).transform("big").keys() == {"basis", "mean", "spread"}
