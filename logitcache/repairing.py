"""Mend a store from the recipe that made it: recompute what is damaged or missing, and nothing else.

On the same kind of device and with the same software, batches being cut alike, the very bytes come back. Elsewhere the
blocks keep the store's promise, and a superseding commit says that they are others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from logitcache.cache_job import CacheJob
from logitcache.caching import open_writers, split_contents, store_content
from logitcache.calibrating import Calibrated, calibrate
from logitcache.errors import CheckError, DamageError
from logitcache.records import sha256
from logitcache.store import StoreRecord, TeacherWriter, create_store
from logitcache.store.backend import Backend, open_backend
from logitcache.store.documents import pack, read_json
from logitcache.store.settle import Finding, Objects, digest_findings, digests_key
from logitcache.store.verify import verify_url
from logitcache.store.wholes import read_whole
from logitcache.store.write import store_objects
from logitcache.teacher import Teacher
from logitcache.teacher_run import BlockOutput, TeacherRun
from logitcache.views import view_policy

__all__ = ["Repaired", "damaged_teachers", "repair_splits", "repair_teacher"]

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Repaired:
    """What a repair did: metadata objects and blocks restored byte for byte, and blocks written with other bytes."""

    objects: int
    identical: int
    superseded: int


def damaged_teachers(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    """(split, teacher) of everything that was found wrong with a teacher."""
    parts = (finding.key.split("/") for finding in findings)
    named = {(part[0], part[2]) for part in parts if len(part) > 3 and part[1] == "teachers"}
    return named | {(block.split, block.teacher) for finding in findings for block in finding.blocks}


def repair_splits(job: CacheJob) -> int:
    """Restore damaged metadata, labels and indices of the splits; returns how many objects were.

    Raises:
        CheckError: what this recipe makes is not what was there.
    """
    return _restore(open_backend(job.store), store_objects(_root(job), split_contents(job), []))


def repair_teacher(
    job: CacheJob,
    teacher: Teacher,
    device: torch.device,
    findings: Sequence[Finding],
    progress: Progress | None = None,
) -> Repaired:
    """Restore what is damaged of one teacher; :func:`repair_splits` comes first.

    Args:
        job: the recipe's job, on the damaged store.
        teacher: the network, on ``device``.
        device: where it runs.
        findings: what :func:`logitcache.store.verify.verify_url` found.
        progress: called with the number of forward passes just finished.

    Raises:
        CheckError: what this recipe makes is not what was there, or blocks break the promise.
        MismatchError: the store is of another teacher or other options.
    """
    create_store(job.store, _root(job), split_contents(job), [])  # these splits and views are compared, none written
    advance = progress or _silent
    runs = {name: TeacherRun(job, name, teacher, device, advance) for name in job.chosen()}
    hurt = {finding.key.split("/")[0] for finding in findings if _is_metadata_of(finding, teacher.name)}
    chosen = {name: calibrate(run, look=name not in hurt) for name, run in runs.items()}
    objects = 0
    if hurt:
        groups = store_objects(*store_content(job, teacher, chosen))
        objects = _restore(open_backend(job.store), [group for group in groups if "/teachers/" in group.array])
        findings = verify_url(job.store, decode=True).findings  # behind damaged metadata no block could be looked at
    identical = superseded = 0
    for writer in open_writers(job, teacher, chosen):
        same, other = _repair_blocks(writer, runs[writer.split], chosen[writer.split], findings)
        identical, superseded = identical + same, superseded + other
    return Repaired(objects, identical, superseded)


def _root(job: CacheJob) -> StoreRecord:
    """What a job's store says of its data set and views."""
    first = next(iter(job.chosen().values()))
    return StoreRecord(first.dataset, first.classes, view_policy(first, job.views))


def _is_metadata_of(finding: Finding, teacher: str) -> bool:
    """Whether a finding is of a teacher's metadata or of its arrays that are not cut in blocks."""
    parts = finding.key.split("/")
    return finding.kind == "metadata" and len(parts) > 3 and parts[1:3] == ["teachers", teacher]


def _restore(backend: Backend, groups: Sequence[Objects]) -> int:
    """Put back the objects that are not what their digests say; returns how many.

    Raises:
        CheckError: what the recipe makes is not what was there; nothing was changed.
    """
    wanted: dict[str, bytes] = {}
    for group in groups:
        wanted |= _replacements(backend, group)
    for key, data in wanted.items():
        backend.replace(key, data)
    return len(wanted)


def _replacements(backend: Backend, group: Objects) -> dict[str, bytes]:
    """What has to be put back of a group of objects, by key; its digests last."""
    known = digests_key(group.array)
    digests = pack({key: sha256(data) for key, data in group.objects.items()})
    findings = digest_findings(backend, group.array)
    if not any(finding.key == known for finding in findings):
        for finding in findings:
            if finding.key not in group.objects:
                raise CheckError(f"{finding}: this recipe does not make it; use the recipe that made the store")
            if backend.get(known) != digests:
                raise CheckError(
                    f"{finding}: this recipe, or this software, makes other bytes than were there; copy what is intact "
                    "with `logitcache copy`, or cache again into another store"
                )
        return {finding.key: group.objects[finding.key] for finding in findings}
    hurt = [key for key, data in group.objects.items() if backend.get(key) != data]
    for key in hurt:  # with the digests gone, only what cannot be read by itself is known to be damaged
        if _is_whole(backend, key):
            raise CheckError(
                f"{findings[0]}: with it, nothing tells whether {key} is damaged or of another recipe, and this one "
                "makes other bytes; copy what is intact with `logitcache copy`, or cache again into another store"
            )
    return {**{key: group.objects[key] for key in hurt}, known: digests}


def _is_whole(backend: Backend, key: str) -> bool:
    """Whether an object is there and can be read: JSON as it is, a chunk by its checksum."""
    data = backend.get(key)
    if data is None:
        return False
    try:
        if key.endswith("zarr.json"):
            read_json(data, key)
        else:
            read_whole(backend, key.partition("/c/")[0])
    except (DamageError, ValueError):  # ValueError is what zarr and its codecs raise
        return False
    return True


def _repair_blocks(
    writer: TeacherWriter, run: TeacherRun, chosen: Calibrated, findings: Sequence[Finding]
) -> tuple[int, int]:
    """Recompute the damaged and missing blocks of one split: how many came out the same, and how many did not."""
    ours = [finding for finding in findings if _concerns(finding, writer)]
    lost = {(b.view, b.block) for f in ours if f.kind == "commit" for b in f.blocks}
    for view, block in sorted(lost):
        writer.forget(view, block)
    pending = set(writer.pending())
    damaged = {(b.view, b.block) for f in ours for b in f.blocks} | pending
    identical = superseded = 0
    for output in run.outputs(sorted(damaged), chosen.held):
        same = _repair_block(writer, output, pending)
        identical, superseded = identical + same, superseded + (not same)
    writer.finish()
    return identical, superseded


def _concerns(finding: Finding, writer: TeacherWriter) -> bool:
    """Whether a finding is of blocks that a writer writes."""
    return any((b.split, b.teacher) == (writer.split, writer.record.name) for b in finding.blocks)


def _repair_block(writer: TeacherWriter, output: BlockOutput, pending: Collection[tuple[int, int]]) -> bool:
    """Write one block anew; whether its bytes are those that were committed, as far as that is known."""
    with torch.inference_mode(), output.handed_over() as (logits, features):
        if (output.view, output.block) not in pending:
            return writer.rewrite(output.view, output.block, logits, features)
        try:
            writer.write(output.view, output.block, logits, features)
        except CheckError:  # what stands there without a commit is damaged
            writer.discard(output.view, output.block)
            writer.write(output.view, output.block, logits, features)
    return True


def _silent(rows: int) -> None:
    """Nobody looks at the progress."""
    del rows
