"""Which runs of two sides are compared with which."""

from __future__ import annotations

import pytest
from studies import claim, run, seeds

from logitcache.study.contrasts import contrast

MSE = {"objective": "mse", "label": "MSE", "tau": ""}


def test_runs_of_one_seed_are_compared():
    runs = [*seeds([80, 81, 83]), *seeds([81, 83, 86], **MSE)]
    assert contrast(claim(), runs).differences == (1, 2, 3)
    assert contrast(claim(), runs[::-1]).differences == (3, 2, 1)


def test_a_seed_that_one_side_lacks_is_left_out():
    runs = [*seeds([80, 81, 83]), *seeds([81, 83], **MSE), run(99, seed=7, **MSE)]
    assert contrast(claim(), runs).differences == (1, 2)


def test_runs_that_did_not_finish_do_not_count():
    runs = [*seeds([80, 81]), run(90, **MSE), run(1, seed=1, **{**MSE, "status": "diverged"})]
    assert contrast(claim(), runs).differences == (10,)


def test_students_are_pairs_of_their_own():
    runs = [*seeds([80]), run(90, student="b"), *seeds([81], **MSE), run(95, student="b", **MSE)]
    assert contrast(claim(), runs).differences == (1, 5)


def test_settings_that_both_sides_have_are_matched_and_averaged():
    runs = [run(80 + tau, tau=tau, alpha=0.1, seed=s) for tau in (3, 5) for s in (0, 1)]
    runs += [run(81 + 2 * tau, tau=tau, alpha=1.0, seed=s) for tau in (3, 5) for s in (0, 1)]
    found = contrast(claim(more={"alpha": 1}, less={"alpha": 0.1}), runs)
    assert found.differences == (5, 5)
    assert found.chosen == ""
    assert found.rivals == 1


def test_a_setting_that_only_one_side_finished_does_not_shift_the_mean():
    runs = [run(80, tau=3, alpha=0.1), run(40, tau=5, alpha=1.0), run(81, tau=3, alpha=1.0)]
    assert contrast(claim(more={"alpha": 1}, less={"alpha": 0.1}), runs).differences == (1,)


def test_the_strongest_setting_of_the_weaker_side_stands_for_it():
    runs = [run(80 + tau, tau=tau, label=f"KL τ={tau}", seed=s) for tau in (1, 3, 2) for s in (0, 1)]
    found = contrast(claim(), [*runs, *seeds([84, 85], **MSE)])
    assert found.differences == (1, 2)
    assert found.chosen == "against the strongest of 3 settings: tau 3"


def test_settings_that_differ_by_their_label_alone_are_told_apart():
    runs = [run(80, label="DKD β=2"), run(83, label="DKD β=8"), run(84, **MSE)]
    found = contrast(claim(), runs)
    assert found.differences == (1,)
    assert found.chosen == "against the strongest of 2 settings: label DKD β=8"


def test_several_settings_of_the_stronger_side_are_averaged_unless_the_best_is_asked_for():
    less = {"objective": "ce", "tau": "", "alpha": "", "teachers": "", "label": "CE"}
    runs = [run(80 + tau, tau=tau, label=f"KL τ={tau}", seed=s) for tau in (2, 4) for s in (0, 1)]
    runs += seeds([80, 81], **less)
    sides = {"more": {"objective": "kl"}, "less": {"objective": "ce"}}
    mean = contrast(claim(**sides), runs)
    assert mean.differences == (3, 2)
    assert mean.chosen == "the mean of 2 settings"
    best = contrast(claim(**sides, best=True), runs)
    assert best.differences == (4, 3)
    assert best.rivals == 2
    assert best.chosen == "the best of 2 settings: tau 4"


def test_teachers_that_a_claim_names_are_rivals_and_not_matched():
    runs = [run(80, teachers="a"), run(82, teachers="b"), run(83, teachers="a+b")]
    found = contrast(claim(more={"teachers": "a+b"}, less={"teachers": ["a", "b"]}), runs)
    assert found.differences == (1,)
    assert found.chosen == "against the strongest of 2 settings: teachers b"


def test_labels_that_a_claim_names_are_not_matched_by_what_they_say():
    runs = [run(80, label="KL τ=1", tau=1), run(85, label="KL τ=4", tau=4), run(84, label="KL τ=1, again", tau=1)]
    found = contrast(claim(more={"label": "KL τ=4"}, less={"label": ["KL τ=1", "KL τ=1, again"]}), runs)
    assert found.differences == (1,)


def test_pair_may_name_other_columns():
    runs = [run(80, samples=50), run(90, samples=100), run(81, samples=50, **MSE), run(95, samples=100, **MSE)]
    assert contrast(claim(pair=["samples", "seed"]), runs).differences == (1, 5)
    assert contrast(claim(), runs).differences == (3,)


@pytest.mark.parametrize(
    ("runs", "lack"),
    [
        (seeds([80]), "no finished run of the side more has test_accuracy"),
        (seeds([80], **MSE), "no finished run of the side less has test_accuracy"),
        ([run(80), run(81, seed=5, **MSE)], "no runs of both sides share student, seed"),
    ],
)
def test_what_is_lacking_is_said(runs, lack):
    found = contrast(claim(), runs)
    assert found.differences == ()
    assert found.lack.startswith(lack)
