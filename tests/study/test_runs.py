"""Results of all variants become one table whose cells mean something."""

from __future__ import annotations

import pytest
from studies import run

from logitcache.errors import InputError
from logitcache.study.runs import merge_results, read_table, write_table


def results(path, *runs):
    path.parent.mkdir(exist_ok=True)
    return write_table(path, [{"run_id": f"id-{place}", **each} for place, each in enumerate(runs)])


def test_variants_stand_one_after_another_with_their_name(tmp_path):
    a, b = results(tmp_path / "a.csv", run(1), run(2)), results(tmp_path / "b.csv", run(3))
    runs = merge_results({"noisy": a, "clean": b})
    assert [(each["variant"], each["test_accuracy"]) for each in runs] == [
        ("noisy", "1"),
        ("noisy", "2"),
        ("clean", "3"),
    ]


@pytest.mark.parametrize(
    ("objective", "tau", "alpha"),
    [("kl", "4.0", "0.5"), ("kl_inf", "inf", "0.5"), ("kl_zero", "0", "0.5"), ("mse", "", "0.5"), ("ce", "", "")],
)
def test_options_that_an_objective_does_not_use_are_empty(tmp_path, objective, tau, alpha):
    path = results(tmp_path / "a.csv", run(objective=objective, tau="4.0", alpha="0.5"))
    (found,) = merge_results({"": path})
    assert (found["tau"], found["alpha"]) == (tau, alpha)


def test_further_columns_come_by_variant_and_run(tmp_path):
    path = results(tmp_path / "a.csv", run(1), run(2))
    extra = {"v": {"id-1": {"scatter_ratio": 0.25}}, "": {"id-0": {"scatter_ratio": 9.0}}}
    assert [each.get("scatter_ratio") for each in merge_results({"v": path}, extra)] == [None, "0.25"]


def test_a_written_table_is_read_as_it_was_with_columns_in_order(tmp_path):
    lines = ({"status": "done", "variant": "ü", "own": "1,5"}, {"status": "x", "variant": 'say "no"', "own": ""})
    path = write_table(tmp_path / "deep" / "table.csv", lines)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "variant,status,own"
    assert read_table(path) == lines


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist; run the recipe first"),
        (b"run_id\n1\n", "has no column status"),
        (b"", "has no column run_id, status"),
        (b"\xff\xfe\x00", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "results.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_table(path, needed=("run_id", "status"))
    assert str(path) in str(error.value)
