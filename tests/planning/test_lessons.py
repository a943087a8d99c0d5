"""What a training reads: views that do not stay are read again, and every process reads for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from logitcache.planning.lessons import Lesson, Pace
from logitcache.planning.traffic import StoredPart

PART = StoredPart("big", "train", 1000, 9, 100, 1)
LESSON = Lesson(epochs=20, rows=1000, views=8, parts=(PART,), row_bytes=(50.0,), kept_bytes=200, memory=400_000)
"""A decoded view takes 200 000 bytes: two of them fit."""


def test_views_that_do_not_stay_are_read_each_time_they_are_shown():
    assert (LESSON.resident, LESSON.loads) == (2, 20)
    assert LESSON.view_bytes == 50_000
    assert LESSON.bytes == 20 * 50_000


@pytest.mark.parametrize(
    ("views", "memory", "loads"),
    [
        (8, 8 * 200_000, 8),  # all stay
        (8, 8 * 200_000 - 1, 20),  # walked in turn, the one that is asked for has always just gone
        (2, 400_000, 2),
        (1, 200_000, 1),
        (0, 200_000, 1),  # the clean view
        (0, 199_999, 20),  # in windows, epoch by epoch
        (30, 10**9, 20),  # no more than there are epochs
    ],
)
def test_views_that_fit_are_read_once(views, memory, loads):
    assert replace(LESSON, views=views, memory=memory).loads == loads


def test_of_several_teachers_all_are_read():
    two = replace(LESSON, parts=(PART, replace(PART, teacher="small")), row_bytes=(50.0, 10.0), kept_bytes=400)
    assert two.view_bytes == 60_000
    assert two.resident == 1
    assert two.requests(loads=1).get == 2 * LESSON.requests(loads=1).get


def test_requests_are_those_of_its_views_and_of_each_process():
    epoch = replace(PART, views=1).requests("epoch")
    assert LESSON.requests(loads=1) == epoch
    assert LESSON.requests() == epoch.times(20)
    assert LESSON.requests(4) == epoch.times(80)


def test_the_bytes_a_second_follow_from_the_rows_a_second():
    assert LESSON.byte_rate(200) == pytest.approx(200 * 50)
    assert replace(LESSON, rows=100).byte_rate(200) == pytest.approx(10 * 200 * 50), "all blocks for a part of the rows"
    assert replace(LESSON, memory=10**9).byte_rate(200) == pytest.approx(200 * 50 * 8 / 20)


def test_reading_ahead_hides_what_is_shorter_than_the_steps():
    ahead = Pace(computing=10, reading=4, overlaps=True)
    assert (ahead.waiting, ahead.lost) == (0, 0)
    assert replace(ahead, reading=30).waiting == 20
    assert replace(ahead, reading=30).lost == pytest.approx(2 / 3)
    assert replace(ahead, overlaps=False).lost == pytest.approx(4 / 14)


def test_the_pace_is_that_of_an_epoch():
    pace = LESSON.pace(student_rate=100, bandwidth=0.005)
    assert (pace.computing, pace.reading, pace.overlaps) == (10, pytest.approx(10), True)
    assert not replace(LESSON, memory=200_000).pace(100, 1).overlaps, "there is no room to read ahead"
    assert not replace(LESSON, memory=1).pace(100, 1).overlaps, "windows are read when they are needed"


def test_single_rows_of_what_does_not_fit_are_scattered():
    assert not replace(LESSON, rows=100).scattered
    assert replace(LESSON, rows=100, memory=1).scattered
    assert not replace(LESSON, memory=1).scattered


def test_the_longest_is_the_one_that_reads_the_most():
    longer = replace(LESSON, epochs=30)
    assert Lesson.longest([LESSON, longer, replace(LESSON, epochs=50, memory=10**9)]) == longer
    assert Lesson.longest([]) is None
