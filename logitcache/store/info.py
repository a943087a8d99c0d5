"""What a store holds, as one record that can be printed or kept as JSON."""

from __future__ import annotations

import math
from typing import Any

from logitcache.store.encodings import Encoding, Fidelity, describe
from logitcache.store.identity import TeacherRecord
from logitcache.store.read import LogitsReader, Store
from logitcache.store.schema import FORMAT_VERSION
from logitcache.store.totals import total_of

__all__ = ["store_info"]

_ENTRIES = (10, 100)


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
                "noise": _noise(store, split),
                "teachers": [
                    _teacher(store.logits(name, split), store.whole_bytes(name, split))
                    for name in store.teachers(split)
                ],
            }
            for split in store.splits
        ],
    }


def _noise(store: Store, split: str) -> dict[str, Any] | None:
    """What the noisy labels were made by, and how many samples have another label than the clean one."""
    noise = store.split(split).noise
    if noise is None:
        return None
    return {**noise, "wrong": int((store.labels(split, "noisy") != store.labels(split)).sum())}


def _teacher(reader: LogitsReader, wholes: int) -> dict[str, Any]:
    """One teacher's part; ``wholes`` is the size of its arrays that are not cut in blocks."""
    record = reader.record
    totals = total_of(reader.commits.walk(), tuple(record.arrays))
    rows = totals.rows
    arrays = [{"name": k, "bytes": size, "bytes_per_row": size / max(rows, 1)} for k, size in totals.bytes.items()]
    logits = sum(size for name, size in totals.bytes.items() if name != "features")
    return {
        "teacher": record.name,
        "model": record.model,
        "weights": record.weights,
        "precision": record.precision,
        "provenance": record.provenance,
        "encoding": record.encoding.to_json(),
        "encoding_text": describe(record.encoding),
        "views": reader.views,
        "blocks": reader.views * reader.blocks,
        "committed": totals.blocks,
        "repaired": totals.repaired,
        "rows": rows,
        "arrays": arrays,
        "logits_bytes_per_row": logits / max(rows, 1),
        "whole_arrays_bytes": wholes,
        "whole_arrays_bytes_per_row": wholes / max(rows, 1),
        "float16_bytes_per_row": 2 * reader.classes,
        "topk_bytes_per_row": {str(k): _topk_bytes(k, reader.classes) for k in _ENTRIES if k < reader.classes},
        "fidelity": _fidelity(record.encoding, totals.fidelity),
        "features": _features(record, totals.fidelity),
    }


def _topk_bytes(entries: int, classes: int) -> int:
    """What top-k rows take in the ad-hoc formats: a float16 and an index for each entry."""
    return entries * (2 + (2 if classes < 1 << 16 else 4))


def _features(record: TeacherRecord, total: Fidelity | None) -> dict[str, Any] | None:
    """Step, stated and measured error of stored features."""
    if not record.features:
        return None
    values = record.features * total.rows if total is not None else 0
    return {
        "width": record.features,
        "step": record.feature_step,
        "error_bound": record.feature_step / 2 if record.feature_step else None,
        "largest_error": total.features_largest_error if total is not None else None,
        "rmse": math.sqrt(total.features_squared_error / max(values, 1)) if total is not None else None,
    }


def _fidelity(encoding: Encoding, total: Fidelity | None) -> dict[str, Any] | None:
    """Bound and measured error of all committed rows."""
    if total is None:
        return None
    return {
        "step": encoding.step,
        "largest_error": total.largest_error,
        "largest_range": total.largest_range,
        "largest_shift": total.largest_shift,
        "rmse": total.rmse,
        "top1_kept": total.top1_kept / max(total.rows, 1),
        "refined": total.refined,
        "kl_checked": total.kl_checked,
        "taus": list(total.taus),
        "kl_bound": [encoding.bound(tau) for tau in total.taus],
        "kl_largest": list(total.kl_largest),
        "kl_mean": list(total.kl_mean),
    }
