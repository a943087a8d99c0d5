"""Kill import, cache and copy at random moments and let their disks run full; no committed block may go.

    python benchmarks/kill_store.py [--kills 100] [--disks 20] [--seed 0]

Each of the three commands writes a small spectral store in one go. Then it writes another one in processes that are
ended by SIGKILL, each when a random share of the files or of the time has come; what was killed goes on in the next
process, and what is finished is begun anew. After every kill each block that was ever committed must be there with its
bytes; a finished store must have the same files with the same SHA-256 as the one that was never disturbed.

Disks are file systems in memory of random small sizes. A command that meets the end of one must say so in one line and
end with exit code 1; on the disk made larger the same command must come to the same files. Where the system lets
nobody mount such disks, that is said.

The exit code is 1 where anything was lost, or where fewer than half of the kills met a writer at work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from forks import Ended, Fork, apart, small_disk  # first: it says how many threads torch may start
from kill_cache import differences, digests
from kill_jobs import COMMANDS, Job, prepare, store_of

from logitcache.errors import DamageError
from logitcache.records import BlockId
from logitcache.store import open_store
from logitcache.store.verify import verify_url


@dataclass(frozen=True)
class Counts:
    """What was done, and in the last five what must not happen.

    Attributes:
        kills: processes that were sent SIGKILL.
        hits: those that had begun a store and not finished it.
        torn: those that left a shard without its commit.
        disks: small disks that were given; 0 where none can be mounted.
        full: commands that met the end of theirs.
        finished: stores that were finished and compared.
        lost: blocks that were committed and are not intact.
        differing: finished stores with other files or bytes.
        unclear: full disks without one clear line and exit code 1.
        failed: commands that ended by themselves otherwise than well.
    """

    kills: int = 0
    hits: int = 0
    torn: int = 0
    disks: int = 0
    full: int = 0
    finished: int = 0
    lost: int = 0
    differing: int = 0
    unclear: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        """The sums."""
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Counts)))

    @property
    def sound(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost or self.differing or self.unclear or self.failed)


def main() -> None:
    """Kill, fill, print, and exit with the result."""
    apart()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 100), ("disks", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    started = time.perf_counter()
    counts = run(options.kills, options.disks, options.seed)
    print(f"{counts.hits} of {counts.kills} kills hit a running writer; {counts.torn} left a shard without its commit")
    none = "no small disks: this system lets nobody mount them"
    print(f"{counts.full} of {counts.disks} small disks ran full" if counts.disks or not options.disks else none)
    print(
        f"{counts.lost} committed blocks lost; {counts.differing} of {counts.finished} finished stores differ; "
        f"{counts.unclear} unclear messages, {counts.failed} failures; {time.perf_counter() - started:.0f} s in all"
    )
    print(json.dumps(asdict(counts)))
    sys.exit(0 if counts.sound and 2 * counts.hits >= counts.kills else 1)


def in_own_process(kills: int, disks: int, seed: int) -> Counts:
    """:func:`run` for a caller that has started threads already."""
    words = [f"--kills={kills}", f"--disks={disks}", f"--seed={seed}"]
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=False)
    return Counts(**json.loads(done.stdout.splitlines()[-1]))


def run(kills: int, disks: int, seed: int) -> Counts:
    """Kill the commands so often, and give them so many small disks, each a third; no thread may have been started."""
    chance = random.Random(seed)  # noqa: S311  # moments and sizes need no secrecy
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="kill_store_") as name:
        folder = Path(name)
        for number, command in enumerate(COMMANDS):
            job = prepare(folder, command)
            print(f"{command}: {len(job.whole)} files, {job.seconds:.1f} s uninterrupted", flush=True)
            counts += kill_all(job, folder / f"killed_{command}", share(kills, number), chance)
            counts += fill_all(job, folder / f"full_{command}", share(disks, number), chance)
    return counts


def share(total: int, number: int) -> int:
    """The part of a total that the command with this number gets."""
    return total // len(COMMANDS) + (number < total % len(COMMANDS))


def kill_all(job: Job, folder: Path, kills: int, chance: random.Random) -> Counts:
    """Kill a command so many times: in one folder until its store is finished, then in an empty one."""
    counts, store = Counts(), store_of(folder)
    for number in range(kills):
        before = committed(store)
        fork = job.start(folder)
        await_moment(job, store, fork, chance)
        fork.kill(signal.SIGKILL)
        code = fork.wait().code
        done = is_finished(store)
        counts += Counts(
            kills=1,
            hits=code == -signal.SIGKILL and store.exists() and not done,
            torn=loose_shards(store) > 0,
            lost=lost_blocks(store, before),
            failed=code not in (0, -signal.SIGKILL),
        )
        if done or number == kills - 1:
            counts += compare(job, store, job.start(folder).wait(), committed(store))
            shutil.rmtree(folder, ignore_errors=True)
    return counts


def fill_all(job: Job, folder: Path, disks: int, chance: random.Random) -> Counts:
    """Run a command on so many small disks, then on the same ones made larger."""
    counts, store = Counts(), store_of(folder)
    for _ in range(disks):
        with small_disk(folder, int(job.size / 1024 * chance.uniform(0.05, 1))) as grow:
            if grow is None:
                return counts
            ended = job.start(folder).wait()
            unclear = ended.code != 0 and not ended.is_clear_about_space
            before = committed(store)
            counts += Counts(disks=1, full=ended.code == 1, unclear=unclear, lost=lost_blocks(store, before))
            grow(16 * job.size // 1024)
            counts += compare(job, store, job.start(folder).wait(), before)
    return counts


def await_moment(job: Job, store: Path, fork: Fork, chance: random.Random) -> None:
    """Wait for a random part of the files that are to come, or of the time; then for a part of a file's time."""
    started, total = time.perf_counter(), len(job.whole)
    there = count_files(store)
    wanted = there + chance.random() * max(total - there, 1) if chance.random() < 2 / 3 else None
    seconds = job.seconds * chance.random()
    while fork.is_running():
        if time.perf_counter() - started > seconds if wanted is None else count_files(store) >= wanted:
            break
        time.sleep(0.001)
    time.sleep(chance.random() * job.seconds / total)


def compare(job: Job, store: Path, ended: Ended, before: set[BlockId]) -> Counts:
    """What a command came to that was let to its end."""
    differing = bool(differences(job.whole, digests(store)))
    return Counts(finished=1, differing=differing, failed=ended.code != 0, lost=lost_blocks(store, before))


def committed(path: Path) -> set[BlockId]:
    """The blocks that have a commit, none where that cannot be read."""
    if not (path / "zarr.json").exists():
        return set()
    try:
        store = open_store(path)
        readers = [store.logits(name, split) for split in store.splits for name in store.teachers(split)]
    except DamageError:
        return set()
    return {
        BlockId(reader.teacher, reader.split, group.view, block)
        for reader in readers
        for group in reader.commits.groups
        for block in reader.commits.present(group)
    }


def lost_blocks(path: Path, before: set[BlockId]) -> int:
    """How many of the blocks that were committed before, or are now, are not intact; all where metadata are not."""
    known = before | committed(path)
    if not known:
        return 0
    findings = verify_url(path).findings
    if any(finding.kind == "metadata" for finding in findings):
        return len(known)
    return len(known & {block for finding in findings for block in finding.blocks})


def is_finished(store: Path) -> bool:
    """Whether all commits have been folded into one a view, which is the writer's last deed."""
    folders = [path for path in store.rglob("commits") if path.is_dir()]
    return bool(folders) and all(not inside.is_dir() for folder in folders for inside in folder.iterdir())


def loose_shards(store: Path) -> int:
    """Shards of the primary array that no commit names."""
    return sum(path.is_file() for path in store.rglob("coefficients/c/**/*")) - len(committed(store))


def count_files(store: Path) -> int:
    """How many files there are; they come and go meanwhile."""
    folders = os.walk(store)  # unlike rglob, it passes over folders that vanish meanwhile
    return sum(1 for folder, _, names in folders for name in names if "." in name or folder[-1].isdecimal())


if __name__ == "__main__":
    main()
