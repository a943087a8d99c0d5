"""Objects appear whole or not at all, only where nothing stands, and nothing is left aside."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from builders import tree

from logitcache.errors import InputError
from logitcache.store.backend import LocalBackend, open_backend


@pytest.fixture(params=["nameless", "no O_TMPFILE", "refused O_TMPFILE"])
def backend(request, tmp_path, monkeypatch):
    """A local backend on a file system with nameless files, on a system without, on a file system without."""
    if request.param == "no O_TMPFILE":
        monkeypatch.delattr(os, "O_TMPFILE")
    if request.param == "refused O_TMPFILE":
        monkeypatch.setattr(os, "open", refusing_nameless(os.open))
    return LocalBackend(tmp_path / "store")


def refusing_nameless(inner):
    def opened(path, flags, *args, **keywords):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return inner(path, flags, *args, **keywords)

    return opened


def files(backend):
    return sorted(tree(backend.root))


def test_what_was_put_comes_back(backend):
    assert backend.put("a/b/c", b"one")
    assert backend.put("a/empty", b"")
    assert (backend.get("a/b/c"), backend.size("a/b/c")) == (b"one", 3)
    assert (backend.get("a/empty"), backend.size("a/empty")) == (b"", 0)
    assert backend.names("a") == {"b", "empty"}
    assert files(backend) == ["a/b/c", "a/empty"]


def test_what_is_not_there_is_none(backend):
    backend.put("a/b", b"one")
    assert [backend.get(key) for key in ("nothing", "a", "a/b/c")] == [None, None, None]
    assert [backend.size(key) for key in ("nothing", "a/b/c")] == [None, None]
    assert [backend.names(key) for key in ("nothing", "a/b")] == [set(), set()]
    backend.delete("nothing")


def test_a_second_put_changes_nothing(backend):
    assert backend.put("key", b"first")
    assert not backend.put("key", b"second")
    assert backend.get("key") == b"first"
    assert files(backend) == ["key"]


def test_of_many_puts_at_once_one_wins(backend):
    barrier = Barrier(8)

    def put(name):
        barrier.wait()
        return backend.put("a/key", name * 1000)

    names = [bytes([65 + n]) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, names))
    assert won.count(True) == 1
    assert backend.get("a/key") == names[won.index(True)] * 1000
    assert files(backend) == ["a/key"]


@pytest.mark.parametrize("written", [0, 3])
def test_a_full_disk_leaves_nothing_behind(backend, monkeypatch, written):
    """The disk takes some bytes and then no more."""
    real = os.write
    left = [written]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[: left[0]])
        left[0] -= count
        return count

    backend.put("a/before", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(OSError, match="No space left"):
            backend.put("a/key", b"0123456789")
    assert files(backend) == ["a/before"]
    assert backend.names("a") == {"before"}
    assert backend.put("a/key", b"0123456789")


def test_a_file_that_cannot_be_synced_never_gets_its_name(backend, monkeypatch):
    backend.put("before", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "input/output error")))
        with pytest.raises(OSError, match="input/output"):
            backend.put("key", b"0123456789")
    assert files(backend) == ["before"]


def test_file_and_folder_are_synced_before_put_returns(backend, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    backend.put("key", b"one")
    assert synced[-2:] == ["file", "folder"]
    synced.clear()
    backend.put("key", b"one")  # its writer may have died between link and sync
    assert set(synced) == {"folder"}


def test_short_writes_are_carried_on(backend, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    backend.put("key", bytes(range(100)))
    assert backend.get("key") == bytes(range(100))


def test_without_proc_a_named_file_stands_aside(tmp_path, monkeypatch):
    real = os.link

    def link(source, *args, **keywords):
        if str(source).startswith("/proc"):
            raise FileNotFoundError(source)
        return real(source, *args, **keywords)

    monkeypatch.setattr(os, "link", link)
    backend = LocalBackend(tmp_path)
    assert backend.put("a/key", b"one")
    assert not backend.put("a/key", b"two")
    assert (files(backend), backend.get("a/key")) == (["a/key"], b"one")


def test_what_a_killed_writer_left_aside_is_no_object_and_is_swept_away(backend):
    backend.put("a/key", b"one")
    (backend.root / "a" / ".other.0123.partial").write_bytes(b"half")
    assert backend.names("a") == {"key"}
    backend.sweep()
    assert files(backend) == ["a/key"]


def test_a_put_survives_that_its_folder_is_tidied_away(backend, monkeypatch):
    """Another writer removes the empty folder just after it was made, once."""
    real = os.open
    once = [True]

    def opened(path, flags, *args, **keywords):
        if str(path) == str(backend.root / "a") and once.pop() if once else False:
            (backend.root / "a").rmdir()
        return real(path, flags, *args, **keywords)

    backend.put("other", b"")
    monkeypatch.setattr(os, "open", opened)
    assert backend.put("a/key", b"one")
    assert backend.get("a/key") == b"one"


def test_delete_removes_the_folder_it_emptied(backend):
    backend.put("a/b/one", b"1")
    backend.put("a/b/two", b"2")
    backend.delete("a/b/one")
    assert backend.names("a/b") == {"two"}
    backend.delete("a/b/two")
    assert backend.names("a") == set()


def test_addresses_of_object_stores_are_refused():
    with pytest.raises(InputError, match="s3://bucket/store is not a local path"):
        open_backend("s3://bucket/store")
