"""What a stage of ``bench_scale`` takes: seconds, CPU seconds, peak memory; over several processes where some die."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

from logitcache.files import write_text

__all__ = ["Attempts", "Report"]

Figures = dict[str, Any]

_KEPT_EVERY, _TOLD_EVERY = 5.0, 60.0


class Report:
    """Measures from where it is made to where it is called, which writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started, self._cpu, self._loaded = time.perf_counter(), time.process_time(), peak_bytes()

    def __call__(self, found: Figures) -> None:
        """Write what was taken, and what a stage found, which counts where it is of the same name."""
        figures: Figures = {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._cpu,
            "loaded_bytes": self._loaded,
            "peak_bytes": peak_bytes(),
            **found,
        }
        if "rows" in figures:
            figures["rows_per_second"] = figures["rows"] / figures["seconds"]
        write_text(self._path, json.dumps(figures))


class Attempts:
    """Rows and seconds of this process, and of those before it as far as they came to write them down.

    Args:
        path: the file, a line now and then.
        rows: how many there are in all, for people.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._path, self._all = path, rows
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):  # killed in the middle of a line
            path.write_text("".join(whole), encoding="utf-8")
        self._earlier: dict[int, Figures] = {line["process"]: line for line in map(json.loads, whole)}
        self._number = 1 + max(self._earlier, default=0)
        self._started = self._kept = self._told = time.perf_counter()
        self._cpu = time.process_time()
        self.rows = 0

    def add(self, rows: int) -> None:
        """Rows that are computed."""
        self.rows += rows
        now = time.perf_counter()
        if now - self._kept >= _KEPT_EVERY:
            self._kept = now
            self.keep()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            rate = self.rows / (now - self._started)
            print(f"{self.figures()['rows']:,} of {self._all:,} rows, {rate:,.0f} a second", flush=True)

    def keep(self) -> None:
        """Write down what this process took so far."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self._line()) + "\n")

    def figures(self) -> Figures:
        """All processes together."""
        lines = [*self._earlier.values(), self._line()]
        sums = {name: sum(line[name] for line in lines) for name in ("rows", "seconds", "cpu_seconds")}
        return {**sums, "peak_bytes": max(line["peak_bytes"] for line in lines), "processes": len(lines)}

    def _line(self) -> Figures:
        """What this process took so far."""
        return {
            "process": self._number,
            "rows": self.rows,
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_bytes": peak_bytes(),
        }


def peak_bytes() -> int:
    """Peak memory of this process and of those it waited for."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
