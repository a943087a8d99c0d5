"""Figures show the means of the runs they let through, and the same runs make the same bytes."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from studies import run, seeds

from logitcache.study.figures import draw_figure, figure_title, save_figure
from logitcache.study.options import FigureOptions

GRID = [
    run(70 + place + 10 * up + seed, tau=tau, alpha=alpha, seed=seed)
    for place, tau in enumerate(("1.0", "20.0", "inf"))
    for up, alpha in enumerate(("0.1", "1.0"))
    for seed in range(2)
]
HEATMAP = FigureOptions(kind="heatmap", x="tau", y="alpha")
LINES = FigureOptions(kind="lines", x="tau", lines="alpha")
POINTS = FigureOptions(kind="points")


def test_a_heat_map_has_means_in_the_order_of_values():
    axes = draw_figure(HEATMAP, (), GRID[::-1]).axes[0]
    assert axes.images[0].get_array().tolist() == [[70.5, 71.5, 72.5], [80.5, 81.5, 82.5]]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "20", "∞"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0.1", "1"]
    assert axes.get_ylim()[0] < axes.get_ylim()[1], "values rise upwards"
    assert "82.5" in {text.get_text() for text in axes.texts}


def test_a_heat_map_leaves_cells_without_runs_empty():
    axes = draw_figure(HEATMAP, (), GRID[2:]).axes[0]
    assert np.isnan(np.asarray(axes.images[0].get_array().filled(np.nan))).sum() == 1
    assert len(axes.texts) == 5


def test_lines_join_means_and_have_their_deviation():
    figure = draw_figure(LINES, (), GRID)
    lines = [container.lines for container in figure.axes[0].containers]
    assert [line[0].get_ydata().tolist() for line in lines] == [[70.5, 71.5, 72.5], [80.5, 81.5, 82.5]]
    low, high = lines[0][2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((70.5 - np.sqrt(0.5), 70.5 + np.sqrt(0.5)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0.1", "1"]


def test_points_have_a_dot_a_run_and_name_rows_by_what_differs():
    axes = draw_figure(POINTS, ("student", "label"), [*seeds([80, 81]), *seeds([70], label="CE")]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["KL", "CE"]
    dots = [
        line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else line.get_xdata() for line in axes.lines
    ]
    assert [80.0, 81.0] in dots


def test_a_filter_and_unfinished_runs_leave_runs_out():
    shown = draw_figure(FigureOptions(kind="lines", x="tau", where={"tau": [1, 20]}), (), GRID)
    assert len(shown.axes[0].get_xticks()) == 2
    assert draw_figure(FigureOptions(kind="lines", x="tau", where={"tau": 7}), (), GRID) is None
    assert draw_figure(HEATMAP, (), [{**one, "status": "diverged"} for one in GRID]) is None
    assert draw_figure(FigureOptions(kind="points", measure="train_accuracy"), ("label",), GRID) is None


@pytest.mark.parametrize("options", [HEATMAP, LINES, POINTS], ids=lambda options: options.kind)
def test_the_same_runs_make_the_same_bytes(options, tmp_path):
    for name in ("a", "b"):
        save_figure(draw_figure(options, ("student", "tau"), GRID), tmp_path / name, "x")
    for kind in ("svg", "png"):
        assert (tmp_path / f"a/x.{kind}").read_bytes() == (tmp_path / f"b/x.{kind}").read_bytes()
    assert len((tmp_path / "a/x.svg").read_bytes()) < 60_000


def test_a_title_says_measure_axes_and_filter():
    options = FigureOptions(kind="lines", x="tau", where={"alpha": [1.0]})
    assert figure_title(options) == "test accuracy, % by temperature τ (alpha = 1)"
    assert figure_title(FigureOptions(kind="points", title="own")) == "own"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "heatmap", "x": "tau"}, "needs y"),
        ({"kind": "lines"}, "needs x"),
        ({"kind": "points", "x": "tau"}, "takes no x"),
        ({"kind": "heatmap", "x": "tau", "y": "alpha", "lines": "label"}, "takes no lines"),
    ],
)
def test_axes_fit_the_kind(options, said):
    with pytest.raises(ValidationError, match=said):
        FigureOptions.model_validate(options)
