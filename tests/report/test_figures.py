"""Figures are drawn for light and dark pages, with names that do not overlap."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from logitcache.report import figures, write_report


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


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_names_at_the_ends_of_lines_do_not_overlap(count: int) -> None:
    ends = sorted(np.random.default_rng(0).uniform(0.4, 1.1, count))
    places = figures._spread(ends, gap=0.07)
    assert all(after - before >= 0.07 - 1e-9 for before, after in itertools.pairwise(places))
    assert places[-1] <= 1.0
