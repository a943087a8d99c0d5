"""Objects appear whole or not at all, only where nothing stands, and nothing is left aside."""

from __future__ import annotations

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from builders import tree

from logitcache.errors import DamageError, InputError
from logitcache.store.backend import LocalBackend, ObjectBackend, is_key, open_backend


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


def test_an_address_is_a_folder_or_of_an_object_store(tmp_path):
    assert open_backend(str(tmp_path)).root == open_backend(tmp_path).root == tmp_path
    assert isinstance(open_backend("s3://bucket/store"), ObjectBackend)
    with pytest.raises(InputError, match=r"ftp://\.\.\.: stores are kept in folders and at s3://BUCKET/PREFIX"):
        open_backend("ftp://host/store")


OUTSIDE = ["", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "/", "./a", "a/.", "a\0b", "a\\b", "a\ud800"]


@pytest.mark.parametrize("key", [*OUTSIDE, "x" * 256, "/".join(["x"] * 600)])
def test_no_key_leaves_the_store(backend, key):
    assert not is_key(key)
    backend.put("a/b", b"one")
    (backend.root.parent / "x").write_bytes(b"secret")
    uses = [backend.get, backend.size, backend.delete, lambda k: backend.put(k, b""), lambda k: backend.replace(k, b"")]
    for use in uses if key == "" else [*uses, backend.names]:
        with pytest.raises(DamageError, match="leaves the store"):
            use(key)
    assert files(backend) == ["a/b"]
    assert (backend.root.parent / "x").read_bytes() == b"secret"


@pytest.mark.parametrize("key", ["a", "a/b", "train/teachers/big/logits/c/0/0/0", ".a", "a..b", "ä", "x" * 255])
def test_plain_names_are_keys(backend, key):
    assert is_key(key)
    assert backend.put(key, b"one")
    assert backend.get(key) == b"one"


def test_links_that_lead_out_are_refused_and_those_inside_are_followed(backend):
    backend.put("a/b", b"one")
    (backend.root.parent / "x").write_bytes(b"secret")
    (backend.root / "file").symlink_to("../x")
    (backend.root / "folder").symlink_to("..")
    (backend.root / "inside").symlink_to("a")
    for key in ("file", "folder/x"):
        for use in (backend.get, backend.size, lambda k: backend.replace(k, b"")):
            with pytest.raises(DamageError, match="leaves the store"):
                use(key)
    assert backend.get("inside/b") == b"one"
    assert (backend.root.parent / "x").read_bytes() == b"secret"


def test_the_store_itself_may_be_a_link(backend):
    backend.put("a/b", b"one")
    link = backend.root.parent / "link"
    link.symlink_to("store")
    assert LocalBackend(link).get("a/b") == b"one"
    (backend.root / "inside").symlink_to("a")
    assert LocalBackend(link).get("inside/b") == b"one"


def test_what_is_no_file_is_no_object(backend, monkeypatch):
    """Reading a pipe would wait for ever."""
    backend.put("a/b", b"one")
    os.mkfifo(backend.root / "pipe")
    (backend.root / "broken").symlink_to("nothing")
    (backend.root / "circle").symlink_to("circle")
    monkeypatch.chdir(backend.root)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert [backend.get(key) for key in ("pipe", "broken", "circle", "socket", "a")] == [None] * 5
    assert (backend.size("circle"), backend.names("circle")) == (None, set())


def test_objects_beyond_the_limit_are_not_read(backend, monkeypatch):
    backend.put("a/b", b"0123456789")
    assert backend.get("a/b", 10) == b"0123456789"
    monkeypatch.setattr(os, "fdopen", lambda *_: pytest.fail("it was read"))
    with pytest.raises(DamageError, match="a/b is damaged: it has 10 bytes, at most 9 are allowed"):
        backend.get("a/b", 9)


def test_names_that_are_no_keys_are_not_listed(backend):
    backend.put("a/b", b"one")
    for name in (b"\xff", b"back\\slash"):
        (backend.root / "a" / os.fsdecode(name)).write_bytes(b"")
    assert backend.names("a") == {"b"}


def test_replacing_is_whole_and_leaves_nothing_aside(backend):
    backend.put("a/key", b"first")
    backend.replace("a/key", b"second")
    backend.replace("a/new/key", b"third")
    assert (backend.get("a/key"), backend.get("a/new/key")) == (b"second", b"third")
    assert files(backend) == ["a/key", "a/new/key"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_replacement_that_fails_leaves_what_was_there(backend, monkeypatch, call):
    backend.put("a/key", b"first")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(OSError, match="No space"):
            backend.replace("a/key", b"second")
    assert backend.get("a/key") == b"first"
    assert files(backend) == ["a/key"]


def test_a_replacement_is_synced_before_it_has_the_name_and_its_folder_after(backend, monkeypatch):
    backend.put("a/key", b"first")
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    backend.replace("a/key", b"second")
    assert calls[-3:] == ["fsync", "replace", "fsync"]
