"""The page is made of facts, verdicts, tables and figures, and of nothing else."""

from __future__ import annotations

import pytest
from builders import tree
from studies import experiment, run, seeds

from logitcache.pipeline.studying import make_page
from logitcache.study import section
from logitcache.study.page import write_page
from logitcache.study.section import draw_figures, section_text

MSE = {"objective": "mse", "label": "MSE", "tau": ""}
RUNS = [*seeds([80, 81, 82]), *seeds([81, 82.2, 82.9], **MSE)]
CLAIM = {"says": "MSE is better", "source": "someone", "more": {"objective": "mse"}, "less": {"objective": "kl"}}
FIGURE = {"kind": "points"}


def text_of(runs=RUNS, *, facts=None, **options):
    return section_text(experiment(runs, facts=facts, **options), [])


def test_a_section_says_on_what_data_and_machine_it_ran():
    text = text_of()
    assert "Data: fashion_mnist, 60 000 train and 10 000 test samples of 1x28x28 in 10 classes." in text
    assert "Teacher: big (cnn-8, 91.50 %)." in text
    assert "Students: cnn-4; seeds 0, 1, 2; 3 epochs; 6 of 6 runs finished." in text
    assert "Machine: a processor, 2 cores (cpu), torch 2.6, logitcache 0.1, 2026-01-01." in text


def test_models_by_factory_and_unknown_accuracies_are_told():
    text = text_of(facts={"teachers": "a:mine:make:90.00;b@noisy:cnn-4:"})
    assert "Teachers: a (mine:make, 90.00 %), b@noisy (cnn-4)." in text


def test_a_claim_stands_with_mark_word_source_and_numbers():
    assert "- ✓ **Confirmed**: MSE is better (someone): +1.03 points (95 % CI" in text_of(claims=[CLAIM])


def test_verdicts_for_each_value_stand_below_their_claim():
    lines = text_of(claims=[{**CLAIM, "each": "student"}]).splitlines()
    place = lines.index("- MSE is better (someone):")
    assert lines[place + 1].startswith("  - ✓ **Confirmed**, cnn-4: +1.03 points")


def test_the_table_has_mean_and_deviation_and_leaves_out_what_nobody_measured():
    text = text_of([*RUNS, run("", seed=5, status="diverged")], measures=["test_accuracy", "train_accuracy"])
    assert "| student | label | runs | test accuracy, % |" in text
    assert "| cnn-4 | KL | 3 of 4 | 81.00 ± 1.00 |" in text
    assert "train accuracy" not in text


def test_bars_in_names_do_not_break_the_table():
    assert "| a\\|b | KL |" in text_of([run(student="a|b")])


def test_long_tables_are_folded():
    runs = [run(label=f"KL {place}") for place in range(25)]
    assert "<summary>25 rows</summary>" in text_of(runs)
    assert "<summary>" not in text_of(runs[:24])


def test_limits_and_mixed_rows_are_said():
    text = text_of([*RUNS, run(views=7)], limits="Too small to conclude anything.")
    assert text.endswith("Limits: Too small to conclude anything.\n")
    assert "Runs of one row differ in views too" in text


def test_published_figures_stand_beside_where_there_are_any_and_else_trends_alone(monkeypatch):
    assert "trends are compared, not values" in text_of()
    value = {"KL": 74.24}
    monkeypatch.setattr(section, "published_value", lambda table, facts, run, measure: value.get(run["label"]))
    monkeypatch.setattr(section, "published_sources", lambda table: ("a table",))
    text = text_of(published="losses", measures=["test_accuracy"])
    assert "| published test accuracy, % |" in text
    assert "| cnn-4 | KL | 3 | 81.00 ± 1.00 | 74.24 |" in text
    assert "| cnn-4 | MSE | 3 | 82.03 ± 0.96 | – |" in text
    assert "Published figures are of the same setting: a table." in text
    assert "trends are compared" not in text


def test_figures_that_nothing_can_be_drawn_for_are_left_out(tmp_path):
    study = experiment(RUNS, figures=[{"kind": "points", "measure": "train_accuracy"}, FIGURE])
    figures = draw_figures(study, tmp_path, lambda part: f"figure-{part}")
    assert [figure.file for figure in figures] == ["figure-2.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure-2.png", "figure-2.svg"]
    assert "![test accuracy, %](there/figure-2.svg)" in section_text(study, figures, "there/")


def several():
    small = experiment(RUNS, claims=[CLAIM], figures=[FIGURE], asks="Is it so?")
    facts = {"experiment": "first", "profile": ""}
    whole = experiment(RUNS[::-1], facts=facts, claims=[CLAIM, {**CLAIM, "says": "other", "each": "seed"}])
    grid = experiment(RUNS, facts={"experiment": "kim2021-grid-small", "recipe": "kim2021-grid"}, title="Grid")
    return [small, whole, grid]


def test_the_overview_has_a_line_a_claim_and_a_column_a_profile(tmp_path):
    text = write_page(several(), tmp_path / "study.md").read_text(encoding="utf-8")
    assert "| Experiment | Claim | whole | small |" in text
    assert "| [A title](#first) | MSE is better | ✓ | ✓ |" in text
    assert "| [A title](#first) | other | ? ? ? | – |" in text


def test_experiments_stand_in_the_papers_order_and_profiles_within(tmp_path):
    text = write_page(several(), tmp_path / "study.md").read_text(encoding="utf-8")
    heads = [line for line in text.splitlines() if line.startswith("##")]
    assert heads == [
        '## <a id="kim2021-grid"></a>Grid',
        "### Profile small",
        '## <a id="first"></a>A title',
        "### The whole recipe",
        "### Profile small",
    ]
    assert text.count("Is it so?") == 1


def test_the_same_results_make_the_same_page_and_figures(tmp_path):
    for name, order in (("a", 1), ("b", -1)):
        write_page(several()[::order], tmp_path / name / "study.md")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert (tmp_path / "a/figures/first-small-1.svg").is_file()


def test_the_page_of_the_repository_is_what_its_results_make(repository, tmp_path):
    results, kept = repository / "docs/results", repository / "docs/study.md"
    if not (results / "facts.csv").is_file():
        assert not kept.exists(), "the page is made from docs/results"
        pytest.skip("no results are collected yet")
    page = make_page(results, tmp_path / "study.md")
    assert page.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "run: logitcache study page"
    made = {path.name for path in (tmp_path / "figures").iterdir()}
    assert made == {path.name for path in (repository / "docs/figures").iterdir()}
