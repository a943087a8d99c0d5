"""Whatever bytes a file has, it is read or refused with one clear error."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source

LOGITS = np.random.default_rng(0).normal(0, 3, (2, 6, 5)).astype(np.float32)


def write_tinyvit(folder, file):
    """One epoch of two samples, of which ``file`` is to be damaged."""
    epoch = folder / "logits_top2_epoch0"
    epoch.mkdir(parents=True)
    (epoch / "rank0-keys.txt").write_text("a\nb\n")
    (epoch / "rank0-values.bin").write_bytes(2 * struct.pack("<i2h2e", 1, 0, 1, 0.5, 0.25))
    return folder, epoch / file


def write_fkd(folder):
    probs, classes = torch.softmax(torch.from_numpy(LOGITS[0]), -1).topk(2)
    labels = torch.stack([classes.float(), probs], dim=1).numpy()
    torch.save([np.zeros((6, 4), np.float32), np.zeros(6, bool), labels], folder / "x.tar")
    return folder, folder / "x.tar"


def write_parquet(path, *, sparse):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    probs, classes = torch.softmax(torch.from_numpy(LOGITS[0]), -1).topk(2)
    lists = {"ids": classes.tolist(), "logprobs": probs.log().tolist()} if sparse else {"logits": LOGITS[0].tolist()}
    parquet.write_table(arrow.table({name: arrow.array(each) for name, each in lists.items()}), path, row_group_size=2)
    return path, path


def write_file(path, save):
    save(path)
    return path, path


LAYOUTS = {
    "npy": lambda f: write_file(f / "a.npy", lambda path: np.save(path, LOGITS)),
    "npz": lambda f: write_file(f / "a.npz", lambda path: np.savez(path, logits=LOGITS)),
    "packed npz": lambda f: write_file(f / "a.npz", lambda path: np.savez_compressed(path, logits=LOGITS)),
    "safetensors": lambda f: write_file(f / "a.safetensors", lambda path: save_file({"logits": LOGITS}, path)),
    "torch": lambda f: write_file(f / "a.pt", lambda path: torch.save({"logits": torch.from_numpy(LOGITS)}, path)),
    "fkd": write_fkd,
    "parquet": lambda f: write_parquet(f / "a.parquet", sparse=False),
    "sparse parquet": lambda f: write_parquet(f / "a.parquet", sparse=True),
    "tinyvit keys": lambda f: write_tinyvit(f / "log", "rank0-keys.txt"),
    "tinyvit values": lambda f: write_tinyvit(f / "log", "rank0-values.bin"),
}


def read_all(path):
    source = open_source(path, SourceOptions(classes=5))
    for view in range(source.views):
        source.read(view, range(min(source.samples, 8)))


@pytest.fixture(params=LAYOUTS)
def written(request, tmp_path):
    """What to open, and the file of it that is damaged."""
    return LAYOUTS[request.param](tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(written, data):
    source, file = written
    whole = file.read_bytes()
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=4), label="flipped bits"):
        damaged[place // 8] ^= 1 << place % 8
    file.write_bytes(damaged[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)), label="bytes kept")])
    try:
        with suppress(InputError):
            read_all(source)
    finally:
        file.write_bytes(whole)


def test_undamaged_ones_are_read(written):
    read_all(written[0])
