"""The table of encodings: bytes a row, what is lost at four temperatures, and how fast rows go in and out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from store_made import Figure, Logits, best_rate
from store_plain import compare_arrays
from store_ways import Way, all_ways

__all__ = ["Row", "Target", "measure_way", "table"]

TAUS = (1.0, 2.0, 4.0, 20.0)
HEADER = (
    f"{'':<28}{'B/row':>8}{'+shared':>9}  {'KL mean at tau 1, 2, 4, 20':<36}{'KL max at tau 1, 2, 4, 20':<36}"
    f"{'signal lost, %':<24}{'RMSE':>7}{'top-1 %':>9}{'write/s':>9}{'read/s':>9}"
)


@dataclass(frozen=True)
class Row:
    """One way on some logits: ``bytes_per_row`` without what rows share, ``shared`` with it; KL in nats by ``TAUS``."""

    what: str
    bytes_per_row: float
    bytes_with_shared: float
    kl_mean: tuple[float, ...]
    kl_largest: tuple[float, ...]
    signal_lost: tuple[float, ...]
    rmse: float
    top1_kept: float
    write_rows_per_second: float
    read_rows_per_second: float
    head: bool

    def __str__(self) -> str:
        """The row on one line."""
        mean, largest = (" ".join(f"{kl:<8.2g}" for kl in each) for each in (self.kl_mean, self.kl_largest))
        lost = " ".join(f"{100 * share:<5.2g}" for share in self.signal_lost)
        return (
            f"{self.what:<28}{self.bytes_per_row:>8.1f}{self.bytes_with_shared:>9.1f}  {mean:<36}{largest:<36}"
            f"{lost:<24}{self.rmse:>7.3f}{100 * self.top1_kept:>9.2f}"
            f"{self.write_rows_per_second:>9.0f}{self.read_rows_per_second:>9.0f}"
        )


@dataclass(frozen=True)
class Target:
    """Mean KL at ``TAUS`` that must be had for so many bytes a row, what rows share apart."""

    most_bytes: float
    kl_mean: tuple[float, ...]

    def reached_by(self, row: Row) -> bool:
        """Whether a row of the table reaches it."""
        small = row.bytes_per_row <= self.most_bytes
        return small and all(kl <= most for kl, most in zip(row.kl_mean, self.kl_mean, strict=True))

    def __str__(self) -> str:
        """The target in words."""
        return f"<= {self.most_bytes:g} B/row with mean KL <= {'/'.join(f'{kl:g}' for kl in self.kl_mean)}"


TARGETS = (
    Target(60, (0.07, 0.05, 0.015, 0.001)),
    Target(130, (0.018, 0.012, 0.004, 0.0003)),
    Target(270, (0.007, 0.0023, 0.0007, 0.00003)),
)
TOP1 = 0.999


def table(name: str, logits: Logits, folder: Path, *, targets: bool) -> Iterator[Figure]:
    """All ways on some logits, and where asked which of the targets are reached."""
    yield Figure(f"{name}: {len(logits):,} rows of {logits.shape[1]} (files in the page cache)\n{HEADER}")
    rows = []
    for way in all_ways(logits.shape[1]):
        row = measure_way(way, logits, folder / "way")
        rows.append(row)
        reached = [f"<= {t.most_bytes:g} B" for t in TARGETS if targets and t.reached_by(row)]
        yield Figure(f"{row}  {', '.join(reached)}".rstrip(), {"what": "encoding", "logits": name, **_json(row)})
    if targets:
        yield from _verdicts(rows)


def measure_way(way: Way, logits: Logits, path: Path) -> Row:
    """Write, weigh, read, compare; what is at the path is removed."""
    write = len(logits) / way.write(path, logits)
    own, shared = way.size(path)
    read = best_rate(len(logits), lambda: way.read(path))
    exact = logits - _log_sum(logits) if way.relative else logits
    found = compare_arrays(exact, way.decode(path), TAUS)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Row(
        what=way.name,
        bytes_per_row=own / len(logits),
        bytes_with_shared=(own + shared) / len(logits),
        kl_mean=tuple(found.kl.mean(axis=1).tolist()),
        kl_largest=tuple(found.kl.max(axis=1).tolist()),
        signal_lost=tuple((found.kl.sum(axis=1) / found.signal.sum(axis=1)).tolist()),
        rmse=float(np.sqrt(found.squared.sum() / logits.size)),
        top1_kept=float(found.same_top.mean()),
        write_rows_per_second=write,
        read_rows_per_second=read,
        head=way.head,
    )


def _verdicts(rows: Sequence[Row]) -> Iterator[Figure]:
    """Each target, and what reaches it with the fewest bytes."""
    for target in TARGETS:
        reaching = min((row for row in rows if target.reached_by(row)), key=lambda row: row.bytes_per_row, default=None)
        how = "missed" if reaching is None else f"reached by {reaching.what} ({reaching.bytes_per_row:.1f} B)"
        yield Figure(f"target {target}: {how}", {"what": "target", "target": str(target), "result": how})
    heads = {row.what: row.top1_kept for row in rows if row.head}
    least = min(heads, key=lambda name: heads[name])
    how = "reached" if heads[least] >= TOP1 else "missed"
    text = f"target top-1 kept >= {100 * TOP1:g} % with a head: {how}, least {100 * heads[least]:.2f} % by {least}"
    yield Figure(text, {"what": "target", "target": "top-1 kept with a head", "result": how, "least": heads[least]})


def _log_sum(logits: Logits) -> np.ndarray:
    """The logarithm of the sum of exponentials of each row, (rows, 1)."""
    top = logits.max(axis=1, keepdims=True).astype(np.float64)
    total: np.ndarray = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return total


def _json(row: Row) -> dict[str, object]:
    record = asdict(row)
    return {"encoding": record.pop("what"), **record}
