"""A command that finds all done asks a bucket for little: what it has asked once it does not ask again."""

from __future__ import annotations

from collections import Counter

import pytest
from object_server import BUCKET
from tiny import Run, command, run_words

pytestmark = pytest.mark.usefixtures("undrawn")

PREFIX, URL = "runs/store.zarr", f"s3://{BUCKET}/runs/store.zarr"
THERE = f"share.store={URL}"


@pytest.fixture
def there(run_copy, s3) -> Run:
    """A finished run whose store has moved to a bucket, without a request."""
    s3.take(run_copy.out / "store.zarr", PREFIX)
    return run_copy


def test_a_run_of_which_all_is_done_asks_for_little_and_reads_nothing_twice(there, s3):
    answer = command("run", *run_words(there.recipe, there.out, THERE))
    assert answer.code == 0, answer.err
    steps = ("all blocks are in the store", "verify: done", "students are trained", "statistics: done", "timing: done")
    for step in steps:
        assert step in answer.out
    kinds = Counter("LIST" if seen.listing else seen.method for seen in s3.seen)
    assert kinds <= Counter(GET=27, HEAD=15, LIST=20), kinds
    read = Counter(seen.key for seen in s3.seen if seen.method == "GET" and not seen.listing)
    assert set(read.values()) == {1}
