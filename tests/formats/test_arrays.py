"""Whole logits come out of arrays as they went in, and no size is believed that the file does not have."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from logitcache.errors import InputError
from logitcache.formats import SourceOptions, open_source

LOGITS = np.random.default_rng(0).normal(0, 5, (3, 20, 7)).astype(np.float32)


def save(path, logits, **others):
    """Write an array in the layout that its ending says, by NumPy, safetensors or torch themselves."""
    if path.suffix == ".npy":
        np.save(path, logits)
    elif path.suffix == ".npz":
        (np.savez_compressed if "packed" in path.stem else np.savez)(path, logits=logits, **others)
    elif path.suffix == ".safetensors":
        save_file({"logits": logits, **others}, path)
    else:
        torch.save({"logits": torch.from_numpy(logits), **others} if others else torch.from_numpy(logits), path)
    return path


def load(path, **options):
    return open_source(path, SourceOptions(**options))


NAMES = ("l.npy", "l.npz", "packed.npz", "l.safetensors", "l.pt", "l.pth")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_row_of_every_view_comes_out_as_float32(tmp_path, name, dtype):
    source = load(save(tmp_path / name, LOGITS.astype(dtype)))
    assert (source.views, source.samples, source.classes, source.sparse) == (3, 20, 7, 0)
    assert source.precision == np.dtype(dtype).name
    for view in range(3):
        part = source.read(view, range(5, 20))
        assert part.dtype == np.float32
        assert (part == LOGITS[view, 5:].astype(dtype).astype(np.float32)).all()


@pytest.mark.parametrize("name", NAMES)
def test_two_dimensions_are_one_view(tmp_path, name):
    source = load(save(tmp_path / name, LOGITS[1]), classes=7)
    assert (source.views, source.samples) == (1, 20)
    assert (source.read(0, range(20)) == LOGITS[1]).all()


@pytest.mark.parametrize("name", ["l.npz", "l.safetensors"])
def test_an_array_is_found_by_its_name_or_as_the_only_one(tmp_path, name):
    several = save(tmp_path / name, LOGITS[0], other=LOGITS[1])
    assert (load(several).read(0, range(20)) == LOGITS[0]).all()
    assert (load(several, key="other").read(0, range(20)) == LOGITS[1]).all()
    with pytest.raises(InputError, match=r"no .* 'none'; its .*s are: logits, other; choose with key"):
        load(several, key="none")


def test_several_arrays_without_logits_are_listed(tmp_path):
    np.savez(tmp_path / "two.npz", a=LOGITS, b=LOGITS)
    with pytest.raises(InputError, match="several; its arrays are: a, b; choose with key"):
        load(tmp_path / "two.npz")
    np.savez(tmp_path / "one.npz", scores=LOGITS)
    assert load(tmp_path / "one.npz").views == 3


def test_columns_first_and_big_endian_arrays_are_read_right(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(LOGITS).astype(">f4"))
    np.savez(tmp_path / "f.npz", np.asfortranarray(LOGITS))
    for name in ("f.npy", "f.npz"):
        assert (load(tmp_path / name).read(2, range(4, 9)) == LOGITS[2, 4:9]).all()


def test_bfloat16_tensors_are_read(tmp_path):
    logits = torch.from_numpy(LOGITS).bfloat16()
    save_torch({"logits": logits}, tmp_path / "b.safetensors")
    torch.save(logits, tmp_path / "b.pt")
    for name in ("b.safetensors", "b.pt"):
        source = load(tmp_path / name)
        assert source.precision == "bfloat16"
        assert (source.read(1, range(20)) == logits[1].float().numpy()).all()


def test_an_unpacked_archive_stays_on_disk(tmp_path):
    assert isinstance(load(save(tmp_path / "l.npz", LOGITS)).read(0, range(2)).base, np.memmap)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(tmp_path, name, keep):
    path = save(tmp_path / name, LOGITS)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match="not a whole"):
        load(path)


@pytest.mark.parametrize("name", ["l.npz", "packed.npz"])
def test_a_flipped_bit_in_an_archive_is_found(tmp_path, name, monkeypatch):
    monkeypatch.setattr("logitcache.formats.arrays._PIECE", 64)
    path = save(tmp_path / name, LOGITS)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"not a whole .npz archive"):
        load(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2), (0, 5), (3, 0)])
def test_other_shapes_are_refused(tmp_path, name, shape):
    with pytest.raises(InputError, match=r"shape|not a whole"):
        load(save(tmp_path / name, np.zeros(shape, np.float32)))


@pytest.mark.parametrize("name", NAMES)
def test_integers_are_no_logits(tmp_path, name):
    with pytest.raises(InputError, match="expected floating-point logits"):
        load(save(tmp_path / name, np.zeros((4, 3), np.int64)))


def test_a_header_that_claims_more_than_the_file_has_is_refused(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(400)
    (tmp_path / "l.npy").write_bytes(body)
    for name, packing in (("l.npz", zipfile.ZIP_STORED), ("p.npz", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / name, "w", packing) as archive:
            archive.writestr("logits.npy", body)
    head = b'{"logits":{"dtype":"F32","shape":[1000000000,1000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "l.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(400))
    for name in ("l.npy", "l.npz", "p.npz", "l.safetensors"):
        with pytest.raises(InputError, match="whole"):
            load(tmp_path / name)


def test_a_member_that_claims_more_than_its_packing_can_hold_is_refused(tmp_path):
    path = save(tmp_path / "packed.npz", LOGITS)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the unpacked size in the archive's index
    data[at : at + 4] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    with pytest.raises(InputError, match="claims 2147483648 bytes"):
        load(path)


def test_pickles_are_never_loaded(tmp_path):
    objects = np.empty((2, 2), object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", objects)
    for name in ("o.npy", "o.npz"):
        with pytest.raises(InputError, match="whole"):
            load(tmp_path / name)


def test_what_the_user_says_must_agree(tmp_path):
    path = save(tmp_path / "l.npy", LOGITS)
    with pytest.raises(InputError, match="has 7 classes, given was classes = 8"):
        load(path, classes=8)
    with pytest.raises(InputError, match="holds logits; tau is for stored probabilities"):
        load(path, tau=2)
