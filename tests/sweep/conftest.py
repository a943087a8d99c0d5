"""A run whose students are not trained yet."""

from __future__ import annotations

import pytest
import torch
from sweeps import untrained


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads as each of two processes has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cached(run_copy):
    """A run whose students are not trained yet."""
    return untrained(run_copy)
