"""Compare a store with its own records: digests of metadata, commits against shards, values against digests.

All that is wrong is found, not the first thing only: nothing here needs the rest of the store to be whole. In an object
store, whose objects change as wholes only, shards are compared by length unless values are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from logitcache.address import Address
from logitcache.errors import DamageError
from logitcache.records import BlockId, rows_of_block, sha256
from logitcache.store import schema
from logitcache.store.backend import Backend, open_backend, side_by_side
from logitcache.store.commits import ArrayDigest, Commit, Commits, read_commits
from logitcache.store.documents import LARGEST_DOCUMENT, parse, read_attributes
from logitcache.store.encodings import PRIMARY_ARRAYS
from logitcache.store.groups import Group
from logitcache.store.identity import ATTRIBUTE, TeacherRecord, teacher_path
from logitcache.store.layout import ArraySpec
from logitcache.store.read import Store, open_store
from logitcache.store.settle import Finding, digest_findings, digests_key

__all__ = ["Finding", "Verification", "block_total", "verify", "verify_url"]


@dataclass(frozen=True)
class Verification:
    """What was looked at and what was found wrong."""

    blocks: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> tuple[BlockId, ...]:
        """The blocks that are damaged or missing, each once, in order."""
        return tuple(sorted({block for finding in self.findings for block in finding.blocks}))


def verify(store: Store, *, decode: bool = False, progress: Callable[[int], None] | None = None) -> Verification:
    """All that is wrong with a store that could be opened; arguments as in :func:`verify_url`."""
    return _verify(store.backend, store.url, decode=decode, progress=progress)


def verify_url(url: Address, *, decode: bool = False, progress: Callable[[int], None] | None = None) -> Verification:
    """All that is wrong with a store, also with one that cannot be opened.

    Args:
        url: the store.
        decode: also decode every shard and compare its values with their digest; in an object store, read shards at
            all.
        progress: called with the number of blocks looked at.

    Raises:
        InputError: there is no store, or it is of a format this version does not read.
    """
    return _verify(open_backend(url), str(url), decode=decode, progress=progress)


def block_total(store: Store | Address) -> int:
    """How many blocks are looked at in a store, open or not; teachers whose record is damaged have none to count."""
    backend = store.backend if isinstance(store, Store) else open_backend(store)
    found = (teacher for _, teacher in _teachers(backend) if teacher is not None)
    return sum(teacher.record.views * teacher.record.blocks for teacher in found)


@dataclass(frozen=True)
class _Teacher:
    """A teacher of a split whose record is what was written, and its commits."""

    split: str
    record: TeacherRecord
    commits: Commits

    @property
    def path(self) -> str:
        """Its folder."""
        return teacher_path(self.split, self.record.name)

    def block(self, view: int, block: int) -> BlockId:
        """The name of a block."""
        return BlockId(self.record.name, self.split, view, block)

    def rows(self, block: int) -> range:
        """The rows of a block."""
        return rows_of_block(block, self.record.block_rows, self.record.samples)


def _verify(backend: Backend, url: str, *, decode: bool, progress: Callable[[int], None] | None) -> Verification:
    findings = _split_findings(backend, url)
    blocks = size = 0
    for found, teacher in _teachers(backend):
        findings += found
        for problems, intact in _blocks(backend, teacher, decode=decode) if teacher is not None else ():
            findings += problems
            blocks, size = blocks + 1, size + intact
            if progress is not None:
                progress(blocks)
    return Verification(blocks, size, tuple(dict.fromkeys(findings)))  # two splits name the root


def _splits(backend: Backend) -> list[str]:
    """Names of the splits, those without digests among them."""
    return [name for name in sorted(backend.names("")) if backend.names(name) & {"labels", "teachers"}]


def _split_findings(backend: Backend, url: str) -> list[Finding]:
    """What is wrong with the metadata of the root and the splits, and with their labels and indices."""
    findings = [found for split in _splits(backend) for found in digest_findings(backend, f"{split}/labels")]
    if not findings:
        try:
            store = open_store(url)  # refuses other versions, and what is no store
            for split in store.splits:
                store.split(split)
        except DamageError as error:
            findings.append(Finding("metadata", "zarr.json", str(error)))
    return findings


def _teachers(backend: Backend) -> Iterator[tuple[list[Finding], _Teacher | None]]:
    """What is wrong with each teacher's metadata, and the teacher where its record can be trusted."""
    for split in _splits(backend):
        for name in sorted(backend.names(f"{split}/teachers")):
            path = teacher_path(split, name)
            inside = backend.names(path)
            if inside:  # an object among the folders is no teacher
                settled = (
                    array for array in PRIMARY_ARRAYS if backend.size(digests_key(f"{path}/{array}")) is not None
                )
                started = (array for array in PRIMARY_ARRAYS if array in inside)
                primary = next(chain(settled, started), PRIMARY_ARRAYS[0])
                yield _teacher(backend, split, name, primary)


def _teacher(backend: Backend, split: str, name: str, primary: str) -> tuple[list[Finding], _Teacher | None]:
    """One of them; ``primary`` is the array in whose folder its digests stand."""
    path = teacher_path(split, name)
    key, findings = f"{path}/zarr.json", digest_findings(backend, f"{path}/{primary}")
    if any(finding.key == key for finding in findings):
        return findings, None
    try:
        data = backend.get(key, LARGEST_DOCUMENT) or b""
        record = parse(TeacherRecord, read_attributes(data, key, ATTRIBUTE), key)
    except DamageError as error:
        return [*findings, Finding("metadata", key, str(error))], None
    if (record.name, record.encoding.primary) != (name, primary):
        problem = f"it is of teacher {record.name!r} with {record.encoding.primary}, not {name!r} with {primary}"
        return [*findings, Finding("metadata", key, f"{key} is damaged: {problem}")], None
    return findings, _Teacher(split, record, Commits(backend, f"{path}/{primary}", record.groups))


def _blocks(backend: Backend, teacher: _Teacher, *, decode: bool) -> Iterator[tuple[list[Finding], int]]:
    """What is wrong with each block, and its bytes where nothing is; the commits of one group in memory at a time."""
    for group in teacher.record.groups:
        commits, findings = _commits(backend, teacher, group)
        lost = {block for finding in findings for block in finding.blocks}
        names = map(partial(teacher.block, group.view), group.blocks)
        look = partial(_block, backend, teacher, commits, lost, decode=decode)
        for problems, size in side_by_side(backend, look, names):
            yield [*findings, *problems], size
            findings = []


def _block(
    backend: Backend,
    teacher: _Teacher,
    commits: Mapping[int, Commit],
    lost: Collection[BlockId],
    name: BlockId,
    *,
    decode: bool,
) -> tuple[list[Finding], int]:
    """What is wrong with one block, and its bytes where nothing is; nothing of one whose commit was a finding."""
    if name in lost:
        return [], 0
    commit = commits.get(name.block)
    if commit is None:
        key = teacher.commits.key(name.view, name.block)
        return [Finding("block", key, "it is not committed; run the cache step again", (name,))], 0
    shards = [_shard(backend, teacher, commit, array, decode=decode) for array in commit.arrays]
    findings = [shard for shard in shards if isinstance(shard, Finding)]
    return findings, sum(shard for shard in shards if isinstance(shard, int))


def _commits(backend: Backend, teacher: _Teacher, group: Group) -> tuple[dict[int, Commit], list[Finding]]:
    """The latest commits of a group by block, and its commit records that are damaged."""
    commits: dict[int, Commit] = {}
    findings: list[Finding] = []
    for key, blocks in teacher.commits.records(group):
        try:
            for commit in read_commits(backend.get(key, LARGEST_DOCUMENT) or b"", key):
                _check_commit(teacher, commit, group.view, blocks, key)
                if commit.block not in commits or commit.repair > commits[commit.block].repair:
                    commits[commit.block] = commit
        except DamageError as error:
            lost = tuple(teacher.block(group.view, block) for block in blocks)
            findings.append(Finding("commit", key, str(error), lost))
    return commits, findings


def _check_commit(teacher: _Teacher, commit: Commit, view: int, blocks: Collection[int], key: str) -> None:
    """Refuse a commit that is not of the block whose place it has."""
    rows = teacher.rows(commit.block)
    if commit.view != view or commit.block not in blocks or (commit.start, commit.stop) != (rows.start, rows.stop):
        raise DamageError(f"{key} is damaged: it is of {teacher.block(commit.view, commit.block)}")
    if set(commit.arrays) != set(teacher.record.arrays):
        raise DamageError(f"{key} is damaged: it commits {', '.join(commit.arrays) or 'no arrays'}")


def _shard(backend: Backend, teacher: _Teacher, commit: Commit, array: str, *, decode: bool) -> Finding | int:
    """The bytes of a block's shard in one array, or what is wrong with it."""
    spec, digest = teacher.record.arrays[array], commit.arrays[array]
    key, name = f"{teacher.path}/{spec.key(commit.view, commit.block)}", teacher.block(commit.view, commit.block)
    problem = _length_problem(backend, key, digest)
    if not problem and (decode or not backend.remote):
        data = backend.get(key) or b""
        problem = "" if sha256(data) == digest.sha256 else "has other bytes than were committed"
        if not problem and decode:
            problem = _values_problem(data, spec, commit.stop - commit.start, digest)
    if not problem:
        return digest.bytes
    return Finding("block", key, f"rows {commit.start}..{commit.stop - 1}: its {array} shard {problem}", (name,))


def _values_problem(data: bytes, spec: ArraySpec, rows: int, digest: ArrayDigest) -> str:
    """What is wrong with the values of a shard, nothing where they are those that were committed."""
    try:
        values = schema.shard_to_values(data, spec, rows)
    except (DamageError, ValueError, RuntimeError, TypeError) as error:  # what zarr and its codecs raise
        return f"cannot be decoded ({error})"
    same = sha256(np.ascontiguousarray(values).data) == digest.values_sha256
    return "" if same else "decodes to other values than were committed"


def _length_problem(backend: Backend, key: str, digest: ArrayDigest) -> str:
    """What is wrong with the length of a shard, nothing where it is that which was committed."""
    size = backend.size(key)
    if size is None:
        return "is missing"
    if size != digest.bytes:  # nothing longer than it should be is read at all
        return f"has {size} bytes, committed were {digest.bytes}"
    return ""
