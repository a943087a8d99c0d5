"""Every chart is drawn twice, by Bokeh for the page and by matplotlib for papers, and both say the same."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.models import Axis as BokehAxis
from bokeh.models import ColumnDataSource, LegendItem, Text
from bokeh.plotting import figure
from PIL import Image

from logitcache.report import figures, write_report
from logitcache.report.charts import Axis, Bar, Bars, Chart, Cloud, DotRow, Dots, Heat, Lines, Points, Series
from logitcache.report.curves import accuracy_dots, learning_curves, sweep_heat
from logitcache.report.embedding import placed
from logitcache.report.interactive import draw
from logitcache.report.panels import plain
from logitcache.report.sources import Run
from logitcache.report.tables import make_rows
from logitcache.report.themes import DARK, LIGHT

CHARTS: dict[str, Chart] = {
    "lines": Lines(
        Axis("τ", log=True, ticks=(1.0, 4.0)),
        Axis("nats"),
        (Series("a", (1.0, 4.0), (2.0, 3.0), 0, (1.0, 2.0), (3.0, 4.0)), Series("b", (1.0,), (2.0,), marks=True)),
    ),
    "dots": Dots(
        Axis("%", span=(0.0, 9.0)),
        "row",
        (DotRow("a", (1.0, 3.0), 2.0, 1.0, 0, True, ("0", "1")), DotRow("b", (4.0,), 4.0, math.nan)),
        ("c", 5.0),
    ),
    "bars": Bars(Axis("s"), "kind", (Bar("a", 1.0, "1 s"), Bar("b", 2.0, "2 s", True))),
    "heat": Heat("x", "y", "%", ("p", "q"), ("r", "r"), ((1.0, 2.0), (math.nan, 4.0)), digits=1, floor=2.0),
    "cloud": Cloud(Axis("u"), Axis("v"), (Points("a", (1.0,), (2.0,), 0, ("t",), ("data:,",)), Points("b", (), ()))),
}


def columns(plot: figure, name: str) -> list[Any]:
    """The values of a column in all sources of a figure."""
    sources = plot.select(ColumnDataSource)
    return [value for source in sources if name in source.data for value in source.data[name]]


@pytest.mark.parametrize("kind", CHARTS)
def test_every_axis_of_every_kind_has_a_label(kind: str) -> None:
    axes = list(draw(CHARTS[kind]).select(BokehAxis))
    assert len(axes) == 2
    assert all(axis.axis_label for axis in axes)
    drawn = figures.draw(CHARTS[kind]).axes[0]
    assert drawn.get_xlabel()
    assert drawn.get_ylabel() or kind in {"bars", "dots"}


@pytest.mark.parametrize("kind", CHARTS)
def test_every_colour_is_swapped_for_dark_pages(kind: str) -> None:
    text = placed(draw(CHARTS[kind]), kind)
    light = set(LIGHT.colours)
    assert any(colour in text for colour in light)
    assert not any(colour in text for colour in DARK.colours)
    assert len(light) == len(LIGHT.colours) == len(DARK.colours) == len(set(DARK.colours))


@pytest.mark.parametrize("kind", CHARTS)
def test_the_same_figure_is_the_same_text(kind: str) -> None:
    first, second = (placed(draw(CHARTS[kind]), kind) for _ in range(2))
    assert first == second
    assert placed(draw(CHARTS[kind]), "other") != first


@pytest.mark.parametrize("kind", CHARTS)
def test_papers_have_png_and_svg_with_the_same_bytes_each_time(kind: str, tmp_path: Path) -> None:
    first, second = (figures.save(CHARTS[kind], tmp_path / name, kind) for name in "ab")
    assert [path.name for path in first] == [f"{kind}.png", f"{kind}.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as image:
        assert image.width == 2 * 480
        assert image.getpixel((0, 0))[3] == 0, "the page shows through"


def test_a_figure_has_the_numbers_of_its_chart() -> None:
    dots, heat = draw(CHARTS["dots"]), draw(CHARTS["heat"])
    assert [value for value in columns(dots, "x") if isinstance(value, float)].count(3.0) == 1
    assert {"a", "b", "2.00", "4.00"} <= set(columns(dots, "text"))
    assert columns(dots, "left") == [1.0], "one value has no standard error"
    assert columns(heat, "value") == [1.0, 2.0, 4.0], "a cell without a number is empty"
    assert columns(heat, "text") == ["", "2.0", "4.0"]
    assert columns(heat, "y") == ["r", "r", "r (2)"], "names on an axis must differ"
    assert heat.y_range.factors == ["r (2)", "r"], "the first row is on top"
    assert columns(draw(CHARTS["lines"]), "low") == [1.0, 2.0]


def test_names_are_text_and_no_mathematics_that_needs_a_network() -> None:
    marks = ("$$", r"\[", r"\(")
    plot = draw(Lines(Axis("$$s$$"), Axis(r"\[y\]"), (Series(r"\(x\)", (1.0,), (2.0,)),)))
    labels = [axis.axis_label for axis in plot.select(BokehAxis)] + [
        item.label.value for item in plot.select(LegendItem)
    ]
    assert len(labels) == 3
    assert not any(mark in label for mark in marks for label in labels)
    assert plain("$5, a (b) [c]") == "$5, a (b) [c]"


def test_no_name_can_end_the_script_that_it_stands_in() -> None:
    evil = "</script><!--<script>&"
    text = placed(draw(Bars(Axis("s"), "kind", (Bar(evil, 1.0, evil),))), "n")
    assert text.count("<script") == text.count("</script>") == 1
    inside = text.split(">", 3)[3].removesuffix("</script>")
    drawn = json.loads(inside)
    assert json.dumps(evil)[1:-1] in json.dumps(drawn)
    assert list(draw(CHARTS["bars"]).select(Text))


def test_every_figure_of_the_page_is_drawn_for_papers(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    directory = make_directory()
    page = write_report(directory, info, figures=True).read_text(encoding="utf-8")
    names = {path.name for path in (directory / "figures").iterdir()}
    assert page.count('class="chart"') == 10
    assert len(names) == 2 * 10
    assert {Path(name).stem for name in names} == {Path(name).stem for name in names if name.endswith(".svg")}
    assert all(f'id="chart-{Path(name).stem}"' in page for name in names)


@pytest.mark.usefixtures("plain")
def test_the_page_alone_leaves_no_figures_behind(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    directory = make_directory()
    write_report(directory, info)
    assert not (directory / "figures").exists()


def runs(**changed: Any) -> list[Run]:
    text = dict.fromkeys((each.name for each in fields(Run)), "1")
    same = {**text, "status": "done", "best_test_accuracy": None, **changed}
    return [Run(**{**same, "run_id": f"{n}{changed}", "seed": f"{n}", "test_accuracy": 80.0 + n}) for n in range(3)]


def test_long_names_leave_a_panel_room(tmp_path: Path) -> None:
    """Names of rows that differ in much; what has no room is a warning, and a warning fails the test."""
    name = "KL τ=4, α=0.5 · 8 views · from first+second+third · 18000 samples · targets online · 1800 labelled"
    rows = [replace(row, name=name, brief=name) for row in make_rows(runs(label=name))]
    found = {run_id: ((1, 70.0), (2, 80.0)) for row in rows for run_id in row.run_ids}
    panels = {
        "accuracy": accuracy_dots(rows, {name: 0}, None, None),
        "curves": learning_curves(rows, found, {name: 0}, (60.0, 90.0)),
    }
    for title, chart in panels.items():
        with Image.open(figures.save(chart, tmp_path, title)[0]) as image:
            assert image.width == 2 * 480


def test_the_heat_map_has_the_means_by_temperature_and_weight() -> None:
    def row(objective: str, tau: str, alpha: str, up: float) -> list[Run]:
        label = f"{objective} {tau} {alpha}"
        found = runs(objective=objective, tau=tau, alpha=alpha, label=label)
        return [replace(run, test_accuracy=(run.test_accuracy or 0) + up) for run in found]

    members = [
        *row("kl", "1.0", "0.1", 0),
        *row("kl", "20.0", "0.1", 1),
        *row("kl", "1.0", "1.0", 2),
        *row("kl_inf", "1.0", "1.0", 3),
        *row("mse", "1.0", "1.0", 9),
    ]
    chart = sweep_heat(make_rows(members))
    assert chart is not None
    assert (chart.columns, chart.rows) == (("1", "20", "∞"), ("1", "0.1"))
    expected = [[83.0, math.nan, 84.0], [81.0, 82.0, math.nan]]
    assert np.array_equal(chart.values, expected, equal_nan=True)
    assert sweep_heat(make_rows(members[:6])) is None


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_names_at_the_ends_of_lines_do_not_overlap(count: int) -> None:
    ends = sorted(np.random.default_rng(0).uniform(0.4, 1.1, count))
    places = figures._spread(ends, gap=0.07)
    assert all(after - before >= 0.07 - 1e-9 for before, after in itertools.pairwise(places))
    assert places[-1] <= 1.0
