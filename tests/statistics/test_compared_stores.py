"""Measures that compare, on stores: blocks cut elsewhere, a further member, every view; as NumPy has it."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Plan
from compared import entropy, js, kl, soft

from logitcache.errors import InputError
from logitcache.statistics.measuring import compute
from logitcache.statistics.stores import Other
from logitcache.store import EncodingOptions, open_store

TAUS = (1.0, 4.0)
LOSSLESS = EncodingOptions(kind="lossless")
BIG = Plan(samples=37, block_rows=16, views=3, encoding=LOSSLESS)
STUDENT = Plan(samples=37, block_rows=10, views=1, encoding=LOSSLESS, teacher="student", seed=3)
CODED = Plan(samples=37, block_rows=8, views=3, encoding=EncodingOptions(kind="uniform", max_kl=0.1))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The teacher's, the student's, and the teacher's encoded."""
    folder = tmp_path_factory.mktemp("stores")
    for name, plan in (("big", BIG), ("student", STUDENT), ("coded", CODED)):
        plan.write(folder / name)
    return [open_store(folder / name) for name in ("big", "student", "coded")]


def test_a_student_is_measured_against_its_teacher_wherever_blocks_are_cut(stores):
    big, student, _ = stores
    found = compute(student, ["pair"], taus=TAUS, against=[Other(big, "big")])["pair"].to_dataset()
    assert dict(found.sizes) == {"teacher": 1, "split": 1, "tau": 2, "class": 4, "outcome": 4}
    one = found.sel(teacher="student", split="train")
    for place, tau in enumerate(TAUS):
        p, q = soft(BIG.logits[0], tau), soft(STUDENT.logits[0], tau)
        assert float(one["kl_other_this"][place]) == pytest.approx(kl(p, q).mean(), rel=1e-4)
        assert float(one["js"][place]) == pytest.approx(js(p, q).mean(), rel=1e-4)
    assert float(one["agreement"]) == pytest.approx(
        100 * (BIG.logits[0].argmax(1) == STUDENT.logits[0].argmax(1)).mean()
    )
    assert int(one["outcome_rows"].sum()) == 37


def test_an_ensemble_has_every_teacher_that_is_named(stores):
    big, student, coded = stores
    others = [Other(student, "student"), Other(coded, "big")]
    found = compute(big, ["ensemble"], taus=TAUS, against=others)["ensemble"].to_dataset()
    members = [BIG.logits[0], STUDENT.logits[0], coded_logits(coded)]
    one = found.sel(teacher="big", split="train")
    assert list(one["member"].values) == ["this", "other 1", "other 2"]
    assert one["accuracy"].values == pytest.approx([100 * (z.argmax(1) == BIG.labels).mean() for z in members])
    assert one["js"].values == pytest.approx([js(*(soft(z, tau) for z in members)).mean() for tau in TAUS], rel=1e-5)


def test_fidelity_is_that_of_the_encoded_against_the_lossless_store(stores):
    big, _, coded = stores
    found = compute(coded, ["fidelity"], taus=TAUS, against=[Other(big, "big")])["fidelity"].to_dataset()
    exact = kl(soft(BIG.logits[0], 1.0), soft(coded_logits(coded), 1.0))
    one = found.sel(teacher="big", split="train", tau=1)
    assert float(one["kl_mean"]) == pytest.approx(exact.mean(), rel=1e-3)
    assert float(one["kl_largest"]) == pytest.approx(exact.max(), rel=1e-3)
    assert float(one["kl_largest"]) <= 0.1
    whole = compute(coded, ["fidelity"], taus=TAUS, against=[Other(big, "big")], views="all")["fidelity"]
    assert int(whole.to_dataset()["rows"].squeeze()) == 3 * 37


def test_views_are_seen_all_and_a_store_of_one_view_is_refused(stores):
    big, student, _ = stores
    found = compute(big, ["views", "moments"], taus=TAUS)["views"].to_dataset().sel(teacher="big", split="train")
    p = np.stack([soft(z, 4.0) for z in BIG.logits])
    spread = p.var(axis=0).sum(axis=1)
    assert float(found["variance"].sel(tau=4)) == pytest.approx(spread.mean(), rel=1e-5)
    information = entropy(p.mean(0)) - np.mean([entropy(each) for each in p], axis=0)
    assert float(found["information"].sel(tau=4)[-1]) == pytest.approx(information.mean(), rel=1e-5)
    with pytest.raises(InputError, match="compares views"):
        compute(student, ["views"])


def coded_logits(store):
    reader = store.logits("big", "train")
    return np.concatenate([reader.read(0, block) for block in range(reader.blocks)])
