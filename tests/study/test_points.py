"""Points of the penultimate figure go through their file; a file that is none is refused."""

from __future__ import annotations

import pytest

from logitcache.errors import InputError
from logitcache.study.points import POINTS_FILE, Point, read_points, rounded, write_points

POINTS = (Point("KL τ=4, α=0.5", 'a, "b"', 1.234, -0.00001), Point("", "c", rounded(123456.0), 0.0))


def test_rounded_points_come_back_as_they_were(tmp_path):
    path = tmp_path / "new" / POINTS_FILE
    write_points(path, POINTS)
    assert read_points(path) == POINTS
    assert path.read_text(encoding="utf-8").splitlines()[0] == "panel,class,x,y"


def test_coordinates_keep_four_digits():
    assert [rounded(value) for value in (1.23456, -123456.0, 1.23456e-9)] == [1.235, -123500.0, 1.235e-9]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with the columns panel, class, x, y"),
        ("panel,class,x\n", "must begin with the columns"),
        ("panel,class,x,y\na,b,1,2\na,b,1\n", "line 3 is not panel, class, x, y"),
        ("panel,class,x,y\na,b,1,two\n", "line 2 is not panel, class, x, y"),
        ("panel,class,x,y\na,b,1,nan\n", "line 2 has a coordinate that is not finite"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, said):
    path = tmp_path / POINTS_FILE
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_points(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="is not there; run the study"):
        read_points(tmp_path / POINTS_FILE)
