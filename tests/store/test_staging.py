"""A stage gives what was committed, whatever becomes of its folder, and keeps no more than it was given."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from shards import SHARDS, SIZE, ShardStore, digest, files

from logitcache.errors import DamageError, InputError, StageWarning
from logitcache.store import stage_folder
from logitcache.store.stage_folder import StageFolder
from logitcache.store.staging import Stage, Tally


@pytest.fixture
def store():
    return ShardStore()


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path / "stage", SIZE)
    made.prepare()
    return made


def kept(stage) -> set[int]:
    """The numbers of the shards that are in it, each whole."""
    names = {digest(data): number for number, data in enumerate(SHARDS)}
    found = files(stage.folder)
    assert all(digest(data) == name for name, data in found.items())
    return {names[name] for name in found}


def path_of(stage, number) -> Path:
    return stage.folder / digest(SHARDS[number])[:2] / digest(SHARDS[number])


def test_what_was_read_once_is_read_from_the_stage(stage, store):
    store.read(stage, 0, 1, 0, 1, 0)
    assert store.fetched == [0, 1]
    assert stage.take_tally() == Tally(hits=3, misses=2, bytes=600)
    assert stage.take_tally() == Tally(), "counted once"
    another = Stage(stage.folder, SIZE)
    another.prepare()
    store.read(another, 1, 0)
    assert store.fetched == [0, 1], "another process, another command"


def test_what_was_read_longest_ago_makes_room(stage, store):
    store.read(stage, 0, 1, 2, 0, 3)
    assert kept(stage) == {0, 2, 3}


@pytest.mark.parametrize("size", [300, 899, 900, 1000, 2400])
def test_never_more_is_kept_than_the_size(tmp_path, store, size):
    stage = Stage(tmp_path / "stage", size)
    for number in (0, 1, 2, 3, 4, 5, 6, 7, 0, 3, 6):
        store.read(stage, number)
        assert sum(map(len, files(stage.folder).values())) <= size
    assert len(kept(stage)) >= max(1, size // 300 - 1)


def test_a_smaller_size_takes_away_what_is_too_much(stage, store):
    store.read(stage, 0, 1, 2)
    smaller = Stage(stage.folder, 700)
    smaller.prepare()
    assert kept(smaller) <= {1, 2}
    assert sum(map(len, files(smaller.folder).values())) <= 700


def damages(path: Path):
    """What may become of a file."""
    data = path.read_bytes()
    return {
        "a bit": lambda: path.write_bytes(bytes([data[0] ^ 1]) + data[1:]),
        "cut": lambda: path.write_bytes(data[:-1]),
        "longer": lambda: path.write_bytes(data + b"x"),
        "empty": lambda: path.write_bytes(b""),
        "gone": path.unlink,
        "a link": lambda: (path.unlink(), path.symlink_to("/dev/zero")),
        "a pipe": lambda: (path.unlink(), os.mkfifo(path)),
        "all": lambda: shutil.rmtree(path.parents[1]),
    }


@pytest.mark.parametrize("way", ["a bit", "cut", "longer", "empty", "gone", "a link", "a pipe", "all"])
def test_what_is_damaged_is_fetched_anew(stage, store, way):
    store.read(stage, 0)
    damages(path_of(stage, 0))[way]()
    store.read(stage, 0, 0)
    assert store.fetched == [0, 0]
    assert kept(stage) == {0}
    total = int((stage.folder / "total").read_bytes())
    assert 300 <= total <= SIZE


def test_an_error_of_the_store_is_raised_and_nothing_is_kept(stage):
    def fail():
        raise DamageError("it has other bytes than were committed")

    with pytest.raises(DamageError, match="other bytes"):
        stage.get(digest(SHARDS[0]), 300, fail)
    with pytest.raises(DamageError, match="other bytes"):
        stage.bring(stage, digest(SHARDS[0]), 300, fail)
    assert files(stage.folder) == {}
    assert stage.take_tally() == Tally()


@pytest.mark.parametrize("name", ["../../outside", "", "/etc/passwd", "A" * 64, "0" * 63])
def test_a_digest_that_is_none_names_no_file(stage, name):
    assert stage.get(name, 3, lambda: b"abc") == b"abc"
    assert stage.bring(stage, name, 3, lambda: b"abc")
    assert [path.name for path in stage.folder.iterdir()] == ["total"]


def test_what_is_not_ours_is_left_alone(stage, store):
    others = [stage.folder / "mine.txt", stage.folder / "ab" / "mine.txt", stage.folder / "notes" / digest(SHARDS[0])]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 5000)
    for _ in range(2):
        store.read(stage, *range(8))
    assert all(path.stat().st_size == 5000 for path in others)
    assert len(list(stage.folder.glob("??/" + "?" * 64))) >= 2, "and takes no room"


def test_a_shard_that_is_larger_than_the_stage_is_read_from_the_store_and_that_is_said_once(tmp_path, store):
    said = []
    stage = Stage(tmp_path / "stage", 299, say=said.append)
    store.read(stage, 0, 1, 0)
    assert store.bring(stage, store, 2)
    assert store.fetched == [0, 1, 0], "nothing is brought that cannot be kept"
    [line] = said
    assert line.startswith(f"{stage.folder}: a shard has 300 bytes, the stage 299 bytes; it is read from the store")


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_goes_on_without_and_that_is_said_once(stage, store, monkeypatch):
    store.read(stage, 0)

    def half(path, data):
        with path.open("wb") as file:
            file.write(data[:100])
        full()

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.warns(StageWarning) as warned:
        store.read(stage, 1, 2, 1, 0)
    [message] = [str(each.message) for each in warned]
    assert message.startswith(f"{stage.folder} takes no more shards (No space left on device): those that are not in")
    assert store.fetched == [0, 1, 2, 1], "what is there is read still"
    assert kept(stage) == {0}, "and nothing half"


@pytest.mark.parametrize("call", ["pwrite", "mkdir", "replace", "utime", "pread"])
def test_whatever_of_the_disk_fails_what_is_read_is_right(tmp_path, store, monkeypatch, call):
    said = []
    stage = Stage(tmp_path / "stage", SIZE, say=said.append)
    stage.prepare()
    store.read(stage, 0)
    monkeypatch.setattr(os, call, full)
    store.read(stage, 0, 1, 2)
    monkeypatch.undo()
    store.read(stage, 0, 1, 2, 3, 4)
    assert len(said) <= 1
    assert sum(map(len, files(stage.folder).values())) <= SIZE


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file cannot be a stage: .*; name a folder on a disk of this machine"):
        Stage(tmp_path / "file").prepare()
    with pytest.raises(InputError, match=r"s3://bucket/stage is not a folder of this machine"):
        Stage("s3://bucket/stage")
    with pytest.raises(InputError, match="the size of stage /x, fifty: must be a size"):
        Stage("/x", "fifty")


def test_a_full_disk_at_the_beginning_is_no_error(tmp_path, store, monkeypatch):
    said = []
    stage = Stage(tmp_path / "stage", SIZE, say=said.append)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        stage.prepare()
    store.read(stage, 0, 0)
    assert store.fetched == [0, 0]
    assert len(said) == 1


def test_those_who_come_at_once_fetch_it_once(stage):
    began, fetched = threading.Barrier(4), []

    def fetch():
        fetched.append(1)
        threading.Event().wait(0.05)
        return SHARDS[0]

    def read():
        began.wait()
        assert stage.get(digest(SHARDS[0]), 300, fetch) == SHARDS[0]

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [1]
    assert stage.take_tally() == Tally(hits=3, misses=1, bytes=300)


def test_nobody_waits_for_long_for_one_who_stands_still(stage, store, monkeypatch):
    monkeypatch.setattr(stage_folder, "_WAIT_TO_CHANGE", 0.01)
    monkeypatch.setattr(stage_folder, "_WAIT_FOR_ANOTHER", 0.01)
    files_of_another = StageFolder(stage.folder, SIZE)
    with files_of_another.alone(digest(SHARDS[0])):
        store.read(stage, 0, 0)
    assert store.fetched == [0]
    with files_of_another._changing():
        store.read(stage, 1)
        Stage(stage.folder, SIZE).prepare()
    assert store.fetched == [0, 1]
    assert kept(stage) == {0}
    store.read(stage, 1)
    assert kept(stage) == {0, 1}, "said nothing, given up nothing"


def test_what_is_brought_ahead_takes_half_of_the_stage_until_it_is_read(tmp_path, store):
    stage, reader = Stage(tmp_path / "stage", 2000), ShardStore()
    assert [store.bring(stage, reader, number) for number in range(5)] == [True, True, True, False, False]
    assert stage.take_tally() == Tally(ahead=3, bytes=900)
    store.read(stage, 1)
    assert store.bring(stage, reader, 4)
    assert not store.bring(stage, reader, 5)
    assert store.bring(stage, reader, 2), "it is there, and counted already"
    assert store.fetched == [0, 1, 2, 4]
    assert stage.take_tally() == Tally(hits=1, ahead=1, bytes=300)
    stage.release(reader)
    assert all(store.bring(stage, reader, number) for number in (5, 6, 7))


def test_what_a_reader_claimed_is_free_when_it_is_gone(tmp_path, store):
    stage, reader = Stage(tmp_path / "stage", 1000), ShardStore()
    assert store.bring(stage, reader, 0)
    assert not store.bring(stage, store, 1)
    del reader
    assert store.bring(stage, store, 1)


def test_what_is_there_is_not_brought_again_and_counts_as_read_now(stage, store):
    store.read(stage, 0, 1, 2)
    assert store.bring(stage, store, 0)
    store.read(stage, 3)
    assert 0 in kept(stage)
    assert store.fetched == [0, 1, 2, 3]


def test_it_travels_to_other_processes_without_what_it_counted(stage, store):
    store.read(stage, 0)
    copy = pickle.loads(pickle.dumps(stage))  # noqa: S301
    assert (copy.folder, copy.size, copy.take_tally()) == (stage.folder, SIZE, Tally())
    store.read(copy, 0)
    assert store.fetched == [0]


BEGIN = """
import os, random, signal, sys, types
from pathlib import Path
package = types.ModuleType("logitcache.store")  # without what it loads: a fork of torch takes a hundred times as long
package.__path__ = [{package!r}]
sys.modules["logitcache.store"] = package
sys.path[:0] = {paths}
from shards import SIZE, ShardStore, files
from logitcache.store.stage_folder import StageFolder
from logitcache.store.staging import Stage
folder = Path(sys.argv[1])

def child(life):
    number = os.fork()
    if number == 0:
        life()
        os._exit(0)
    return number

def end(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
"""

KILLS = """
CALLS = "mkdir", "open", "pread", "pwrite", "replace", "unlink", "utime", "listdir", "close", "lstat"

def life(calls):
    left = calls
    def dying(real):
        def call(*words, **more):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **more)
        return call
    real = Path.write_bytes
    def half(path, data):
        nonlocal left
        if left < 1:
            real(path, data[:100])
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(path, data)
    Path.write_bytes = half
    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    stage = Stage(folder, SIZE)
    stage.prepare()
    ShardStore().read(stage, 0, 1, 2, 0, 3, 4)

deaths = 0
while end(child(lambda: life(deaths))) == -signal.SIGKILL:
    deaths += 1
    found = files(folder)
    assert sum(map(len, found.values())) <= SIZE, found
    stage = Stage(folder, SIZE)
    if deaths % 2:
        stage.prepare()
        found = files(folder)
        assert not [name for name in found if name.endswith("partial")], "swept"
        assert int((folder / "total").read_bytes()) == sum(map(len, found.values()))
    for number in (5, 0, 6, 1, 7):  # without a look at what the dead one left, too
        ShardStore().read(stage, number)
        assert sum(map(len, files(folder).values())) <= SIZE
    if deaths % 3 == 0:
        for path in folder.glob("??/*"):
            path.unlink()
assert deaths > 60, deaths
"""

MANY = """
def life(seed):
    stage, store, chosen = Stage(folder, SIZE), ShardStore(), random.Random(seed)
    stage.prepare()
    for _ in range(60):
        store.read(stage, chosen.randrange(8))
        with StageFolder(folder, SIZE)._changing() as total:
            held = sum(map(len, files(folder).values()))
            assert held <= total.read() <= SIZE, held

def safely(seed):
    try:
        life(seed)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)

assert [end(number) for number in [child(lambda seed=seed: safely(seed)) for seed in range(4)]] == [0] * 4
"""


def run(program: str, folder: Path) -> None:
    """Run a program to its end."""
    tests = Path(__file__).parents[1]
    package = tests.parent / "logitcache"
    text = BEGIN.format(package=str(package / "store"), paths=[str(tests), str(tests.parent)]) + program
    done = subprocess.run([sys.executable, "-c", text, str(folder)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_killed_at_any_step_it_keeps_to_its_size_and_gives_what_was_committed(tmp_path):
    run(KILLS, tmp_path / "stage")


def test_processes_that_share_it_keep_to_its_size_together(tmp_path):
    run(MANY, tmp_path / "stage")
