"""A claim gets a verdict and a sentence that says by how much and on what it rests."""

from __future__ import annotations

import csv

import pytest
from pydantic import ValidationError
from studies import claim, run, seeds

from logitcache.study.claims import judge_claims, write_claims
from logitcache.study.options import ClaimOptions

MSE = {"objective": "mse", "label": "MSE", "tau": ""}
RUNS = [*seeds([80, 81, 82]), *seeds([81, 82.2, 82.9], **MSE)]


def only(options: ClaimOptions, runs):
    (verdict,) = judge_claims([options], runs)
    return verdict


def test_the_sentence_says_verdict_difference_interval_pairs_and_p():
    verdict = only(claim(), RUNS)
    assert verdict.word == "confirmed"
    assert verdict.sentence == (
        "Confirmed: MSE is better than KL: +1.03 points (95 % CI +0.65 to +1.41, n = 3 pairs, p = 0.0072)."
    )


def test_the_other_way_round_it_is_contradicted():
    verdict = only(claim(more={"objective": "kl"}, less={"objective": "mse"}), RUNS)
    assert verdict.sentence.startswith("Contradicted: MSE is better than KL: -1.03 points (95 % CI -1.41 to -0.65,")


def test_noise_is_called_so():
    runs = [*seeds([80, 81, 82]), *seeds([81, 80, 82.1], **MSE)]
    assert only(claim(), runs).word == "within noise"


def test_one_pair_and_no_spread_are_undecided():
    one = only(claim(), [run(80), run(81, **MSE)])
    assert one.sentence == "Undecided: MSE is better than KL: +1.00 points (n = 1 pair: too few to judge)."
    alike = only(claim(), [*seeds([80, 81]), *seeds([81, 82], **MSE)])
    assert "all alike, without a spread to judge by" in alike.sentence


def test_without_runs_the_sentence_says_what_is_missing():
    verdict = only(claim(), seeds([80]))
    assert verdict.sentence == ("Undecided: MSE is better than KL: no finished run of the side more has test_accuracy.")


def test_where_holds_for_both_sides():
    noise = [run(10, samples=7, **MSE), run(90, samples=7)]
    assert only(claim(where={"samples": 100}), [*RUNS, *noise]) == only(claim(where={"samples": 100}), RUNS)


def test_each_gives_a_verdict_for_every_value():
    runs = [{**one, "views": views} for one in RUNS for views in ("8", "0")]
    runs += [run(1, views=9, objective="ce"), run(1, views=7), run(1, views=6, **MSE)]
    verdicts = judge_claims([claim(each="views")], runs)
    assert [verdict.of for verdict in verdicts] == ["0", "8"]
    assert {verdict.word for verdict in verdicts} == {"confirmed"}
    assert "MSE is better than KL (8): " in verdicts[1].sentence


def test_each_names_what_is_missing_where_the_sides_share_no_value():
    verdicts = judge_claims([claim(each="views")], [run(80, views=8), run(81, views=0, **MSE)])
    assert [(verdict.of, verdict.word) for verdict in verdicts] == [("0", "undecided"), ("8", "undecided")]
    assert "no finished run of the side less" in verdicts[0].sentence


def test_a_claim_that_sides_are_alike_is_confirmed_by_a_narrow_interval():
    runs = [*seeds([80, 81, 82]), *seeds([80.1, 80.9, 82.05], **MSE)]
    verdict = only(claim(within=0.5), runs)
    assert verdict.word == "confirmed"
    assert "90 % CI" in verdict.sentence
    assert only(claim(within=0.01), runs).word == "undecided"
    assert only(claim(within=0.1), RUNS).word == "contradicted"


class TestTrend:
    """A measure follows a column."""

    GRID = tuple(
        run(70 + 2 * rank + 0.1 * seed * rank, tau=tau, seed=seed)
        for rank, tau in enumerate(("1.0", "3.0", "20.0", "inf"))
        for seed in range(3)
    )

    def test_slopes_count_steps_and_not_sizes_of_the_column(self):
        verdict = only(claim(trend="tau"), self.GRID)
        assert verdict.word == "confirmed"
        assert "+2.10 points a step of tau" in verdict.sentence
        assert verdict.judged.n == 3

    def test_infinity_has_the_last_rank(self):
        flat = [one for one in self.GRID if one["tau"] != "inf"]
        last = [run(0, tau="inf", seed=seed) for seed in range(3)]
        assert only(claim(trend="tau"), flat).judged.mean > 0
        assert only(claim(trend="tau"), [*last, *flat]).judged.mean < 0

    def test_rising_contradicts_falling_and_numbers_keep_their_sign(self):
        verdict = only(claim(trend="tau", falls=True), self.GRID)
        assert verdict.word == "contradicted"
        assert verdict.judged.mean == pytest.approx(2.1)
        assert verdict.judged.low < 2.1 < verdict.judged.high

    def test_other_settings_are_averaged_at_each_step(self):
        more = [{**one, "alpha": "0.5", "test_accuracy": "70"} for one in self.GRID]
        assert only(claim(trend="tau"), [*self.GRID, *more]).judged.mean == pytest.approx(1.05)

    def test_values_that_are_no_numbers_have_no_rank(self):
        others = seeds([99, 99, 99], **MSE)
        assert only(claim(trend="tau"), [*others, *self.GRID]) == only(claim(trend="tau"), self.GRID)

    def test_one_value_is_no_trend(self):
        verdict = only(claim(trend="tau"), self.GRID[:3])
        assert verdict.sentence.endswith("no pair of finished runs has test_accuracy at two values of tau.")


def test_measures_that_are_no_accuracies_have_no_points():
    runs = [{**one, "logit_distance": str(place)} for place, one in enumerate(RUNS)]
    verdict = only(claim(measure="logit_distance"), runs)
    assert "+3.0000 in logit_distance" in verdict.sentence


def test_the_table_has_the_numbers_of_the_sentence(tmp_path):
    verdicts = judge_claims([claim(source="someone 2021"), claim(trend="tau")], RUNS)
    with write_claims(verdicts, tmp_path / "claims.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["verdict"] == "confirmed"
    assert first["source"] == "someone 2021"
    assert float(first["difference"]) == pytest.approx(1.03333, rel=1e-5)
    assert (first["n"], first["ci_percent"]) == ("3", "95")
    assert first["sentence"] == verdicts[0].sentence
    assert (second["verdict"], second["difference"], second["p"]) == ("undecided", "", "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"more": {"tau": 1}}, "more and less, or trend alone"),
        ({"trend": "tau", "less": {"tau": 1}}, "more and less, or trend alone"),
        ({"trend": "tau", "within": 1.0}, "within is for"),
        ({"more": {}, "less": {}, "falls": True}, "falls is for"),
        ({"more": {}, "less": {}, "within": 0.1, "best": True}, "best is for"),
        ({"trend": "tau", "best": True}, "best is for"),
    ],
)
def test_a_claim_has_one_form(options, said):
    with pytest.raises(ValidationError, match=said):
        ClaimOptions.model_validate({"says": "x", **options})
