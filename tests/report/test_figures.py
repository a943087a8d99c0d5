"""Figures are drawn for light and dark pages, with names that do not overlap."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from logitcache.report import figures, write_report
from logitcache.report.sources import Run
from logitcache.report.tables import make_rows


def test_every_figure_is_drawn_for_light_and_dark_pages(
    make_directory: Callable[[], Path], info: dict[str, Any]
) -> None:
    directory = make_directory()
    page = write_report(directory, info).read_text(encoding="utf-8")
    names = {path.name for path in (directory / "figures").iterdir()}
    light = {name for name in names if not name.endswith("-dark.png")}
    assert len(light) == page.count("<picture>") == 9
    assert names == light | {name.replace(".png", "-dark.png") for name in light}
    for name in names:
        with Image.open(directory / "figures" / name) as image:
            assert image.width == 2 * 480
            assert image.getpixel((0, 0))[3] == 0, "the page shows through"


def test_light_and_dark_figures_differ_in_colour_only(tmp_path: Path) -> None:
    draw = figures.bars([figures.Bar("one", 1.0, "1 s"), figures.Bar("two", 2.0, "2 s", True)], "seconds")
    light, dark = (np.asarray(Image.open(path).convert("RGBA")) for path in figures.save(draw, tmp_path, "bars"))
    assert np.array_equal(light[..., 3] > 0, dark[..., 3] > 0)
    assert not np.array_equal(light, dark)


def test_long_names_leave_a_panel_room(tmp_path: Path) -> None:
    """Names of rows that differ in much; what has no room is a warning, and a warning fails the test."""
    name = "KL τ=4, α=0.5 · 8 views · from first+second+third · 18000 samples · targets online · 1800 labelled"
    text = dict.fromkeys((each.name for each in fields(Run)), "1")
    same = {**text, "status": "done", "label": name, "best_test_accuracy": None}
    runs = [Run(**{**same, "run_id": f"{n}", "seed": f"{n}", "test_accuracy": 80.0 + n}) for n in range(3)]
    rows = [replace(row, name=name, brief=name) for row in make_rows(runs)]
    curves = {run.run_id: ((1, 70.0), (2, 80.0 + int(run.seed))) for run in runs}
    panels = {
        "accuracy": figures.accuracy(rows, {name: 0}, None, None),
        "curves": figures.curves(rows, curves, {name: 0}, (60.0, 90.0)),
    }
    for title, draw in panels.items():
        for path in figures.save(draw, tmp_path, title):
            with Image.open(path) as image:
                assert image.width == 2 * 480


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_names_at_the_ends_of_lines_do_not_overlap(count: int) -> None:
    ends = sorted(np.random.default_rng(0).uniform(0.4, 1.1, count))
    places = figures._spread(ends, gap=0.07)
    assert all(after - before >= 0.07 - 1e-9 for before, after in itertools.pairwise(places))
    assert places[-1] <= 1.0
