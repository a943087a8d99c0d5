"""What a store holds, as one record that can be printed or kept as JSON."""

from __future__ import annotations

from typing import Any

from logitcache.store.commits import Commit
from logitcache.store.encodings import kl_bound
from logitcache.store.fidelity import Fidelity, combine
from logitcache.store.read import LogitsReader, Store
from logitcache.store.schema import FORMAT_VERSION

__all__ = ["store_info"]


def store_info(store: Store) -> dict[str, Any]:
    """Data set, views, and by split and teacher: provenance, encoding, bytes by array, bound and measured error.

    Bytes are those of committed shards; ``bytes_per_row`` divides by committed rows (samples times views).
    KL is in nats, one entry for each of ``taus``.
    """
    return {
        "path": store.url,
        "format_version": FORMAT_VERSION,
        "dataset": {"name": store.record.dataset},
        "classes": len(store.classes),
        "views": dict(store.record.views),
        "splits": [
            {
                "split": split,
                "samples": store.split(split).samples,
                "fingerprint": store.split(split).fingerprint,
                "teachers": [_teacher(store.logits(name, split)) for name in store.teachers(split)],
            }
            for split in store.splits
        ],
    }


def _teacher(reader: LogitsReader) -> dict[str, Any]:
    """One teacher's part."""
    commits = [commit for view in range(reader.views) for commit in reader.commits.read(view).values()]
    rows = sum(commit.stop - commit.start for commit in commits)
    record = reader.record
    return {
        "teacher": record.name,
        "model": record.model,
        "weights": record.weights,
        "precision": record.precision,
        "provenance": record.provenance,
        "encoding": record.encoding.to_json(),
        "views": reader.views,
        "blocks": reader.views * reader.blocks,
        "committed": len(commits),
        "rows": rows,
        "arrays": [_array(name, commits, rows) for name in record.arrays],
        "float16_bytes_per_row": 2 * reader.classes,
        "fidelity": _fidelity(record.encoding.step, combine(commit.fidelity for commit in commits)),
    }


def _array(name: str, commits: list[Commit], rows: int) -> dict[str, Any]:
    """The bytes of one array."""
    size = sum(commit.arrays[name].bytes for commit in commits)
    return {"name": name, "bytes": size, "bytes_per_row": size / max(rows, 1)}


def _fidelity(step: float, total: Fidelity | None) -> dict[str, Any] | None:
    """Bound and measured error of all committed rows."""
    if total is None:
        return None
    return {
        "step": step,
        "largest_error": total.largest_error,
        "largest_range": total.largest_range,
        "largest_shift": total.largest_shift,
        "rmse": total.rmse,
        "top1_kept": total.top1_kept / max(total.rows, 1),
        "taus": list(total.taus),
        "kl_bound": [kl_bound(step, tau) for tau in total.taus],
        "kl_largest": list(total.kl_largest),
        "kl_mean": list(total.kl_mean),
    }
