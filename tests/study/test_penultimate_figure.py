"""The penultimate figure: a panel a network, every class told apart, the same bytes each time."""

from __future__ import annotations

import pytest

from logitcache.errors import InputError
from logitcache.study.penultimate_figure import draw_penultimate
from logitcache.study.points import Point

PANELS = ("teacher", "CE", "KL τ=4", "MSE", "mse_half")
POINTS = [
    Point(panel, name, number + 0.1 * shift, number * shift)
    for number, panel in enumerate(PANELS)
    for shift, name in enumerate(("apple", "fish", "baby"))
]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_points_give_the_same_bytes(tmp_path, kind):
    files = [tmp_path / "new" / f"{name}.{kind}" for name in "ab"]
    for file in files:
        draw_penultimate(POINTS, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_panels_classes_and_axes_are_named(tmp_path):
    draw_penultimate(POINTS, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for word in (*PANELS, "apple", "fish", "baby", "along the template of fish from that of apple", "towards baby"):
        assert f">{word}" in text or f"{word}<" in text


@pytest.mark.parametrize("points", [[], POINTS[:2]])
def test_points_of_too_few_classes_are_refused(tmp_path, points):
    with pytest.raises(InputError, match="needed are three"):
        draw_penultimate(points, tmp_path / "figure.svg")
    assert not (tmp_path / "figure.svg").exists()
