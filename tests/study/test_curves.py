"""Curves are the means by epoch of the runs that share a line, and survive the way through their file."""

from __future__ import annotations

import json

import pytest
from studies import run

from logitcache.errors import InputError
from logitcache.study.curves import CurvePoint, make_curves, read_curves, write_curves
from logitcache.study.figures import draw_curves, draw_figure, figure_title
from logitcache.study.options import FigureOptions

FIGURE = FigureOptions(kind="epochs", lines="label", measure="logit_mean")
POINTS = (
    CurvePoint(2, "KL", 1, 0.5, 0.0, 1),
    CurvePoint(2, "KL", 2, 1.5, 0.25, 2),
    CurvePoint(2, "MSE", 1, -1.0, 0.0, 1),
)


def leave(folder, run_id, *values):
    """The metrics of a run: a value an epoch, None where nothing was measured."""
    (folder / run_id).mkdir(parents=True)
    lines = [json.dumps({"epoch": epoch, "logit_mean": value}) for epoch, value in enumerate(values, 1)]
    (folder / run_id / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_curve_is_the_mean_over_runs_at_each_epoch_that_was_measured(tmp_path):
    leave(tmp_path / "a", "one", 1.0, None, 2.0)
    leave(tmp_path / "b", "one", 3.0, None, 6.0)
    leave(tmp_path / "a", "two", 5.0, None, None)
    runs = [run(run_id="one", variant=variant) for variant in "ab"] + [run(run_id="two", variant="a", label="MSE")]
    points = make_curves([FigureOptions(kind="points"), FIGURE], runs, {name: tmp_path / name for name in "ab"})
    assert [(point.figure, point.line, point.epoch, point.mean, point.n) for point in points] == [
        (2, "KL", 1, 2.0, 2),
        (2, "KL", 3, 4.0, 2),
        (2, "MSE", 1, 5.0, 1),
    ]
    assert [point.std for point in points] == pytest.approx([2**0.5, 8**0.5, 0.0])


def test_a_filter_unfinished_runs_and_runs_without_metrics_leave_no_points(tmp_path):
    leave(tmp_path, "one", 1.0)
    runs = [run(run_id="one", status="diverged"), run(run_id="gone"), run(run_id="one", label="CE")]
    narrow = FIGURE.model_copy(update={"where": {"label": ("KL",)}})
    assert make_curves([narrow], runs, {"": tmp_path}) == ()


def test_damaged_metrics_are_named(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.jsonl is damaged"):
        make_curves([FIGURE], [run(run_id="one")], {"": tmp_path})


def test_points_come_back_from_their_file(tmp_path):
    assert read_curves(write_curves(tmp_path / "curves.csv", POINTS)) == POINTS


@pytest.mark.parametrize("change", [("0.25", "wide"), ("1.5", "inf"), (",mean,", ",average,")])
def test_a_file_of_another_form_is_refused(tmp_path, change):
    path = write_curves(tmp_path / "curves.csv", POINTS)
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match=r"curves\.csv"):
        read_curves(path)


def test_a_figure_by_epoch_has_a_line_for_each_value():
    figure = draw_curves(FIGURE, POINTS)
    lines = [container.lines[0] for container in figure.axes[0].containers]
    assert [list(line.get_xdata()) for line in lines] == [[1, 2], [1]]
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 1.5], [-1.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["KL", "MSE"]
    assert figure.axes[0].get_xlabel() == "epochs"
    assert figure_title(FIGURE) == "mean of the student's logits by epoch and label"


def test_without_points_there_is_no_figure():
    assert draw_curves(FIGURE, ()) is None
    assert draw_figure(FigureOptions(kind="lines", x="tau"), (), []) is None
