"""Twenty million rows of a thousand classes through the whole of stage 1 and the reading of stage 2.

    python benchmarks/bench_scale.py [--rows 20498672] [--views 15] [--classes 1000] [--encoding auto] [--max-kl 0.001]
        [--block 8192] [--epochs 2] [--scratch DIR] [--keep] [--out JSON]

As many samples as ImageNet-1k has, 16 views, 1000 classes; ``--rows 200000`` is a quick try. The teacher makes its
logits at the speed of memory with the spectrum of a real network's, its images are tiny, so what is measured is the
rest. Each stage runs in a process of its own:

* ``cache``: the cache step until 99 % of the rows are computed, when it is killed with SIGKILL.
* ``plan``: how much of the store is there, asked of the store alone.
* ``resume``: the cache step goes on to its end; ``again``: once more, with nothing left to do.
* ``verify``: every byte of the store against its digests, and what the store says of itself.
* ``read``: shuffled epochs of inputs and logits, window by window, since a view does not fit in the memory given; each
  row must come once an epoch, and the logits of some batches within the promise of what the teacher says of the inputs.
* ``stats``: all measures that are made where none is named, of the clean view.

Prints rows a second, CPU seconds and peak memory of each, and writes them with machine, versions and command to
``benchmarks/results/bench_scale.json``. Whatever is finished is kept in the scratch folder until all is: interrupted
anywhere, the same command goes on. The exit code is 1 where a stage's result is not what it must be. The whole needs
about 11 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from scale_options import Scale, adopt

STAGES = ("prepare", "cache", "plan", "resume", "again", "verify", "read", "stats")

Figures = dict[str, Any]


def main(words: Sequence[str] | None = None) -> None:
    """Run what is not finished, print and write."""
    options, scale = parse(words)
    try:
        adopt(options.scratch, scale)
    except ValueError as error:
        sys.exit(f"bench_scale: {error}")
    stages = {name: stage(options.scratch, name) for name in STAGES}
    objects, size = disk_use(options.scratch / "store.zarr")
    results = {
        **evidence(),
        "command": f"python benchmarks/bench_scale.py {scale.words}",
        "scale": {**asdict(scale), "rows": scale.rows},
        "seconds": sum(max(figures["process_seconds"], figures["seconds"]) for figures in stages.values()),
        "store": {"objects": objects, "bytes": size, "bytes_per_row": size / scale.rows},
        "stages": stages,
    }
    print(table(results))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not options.keep:
        shutil.rmtree(options.scratch)


def parse(words: Sequence[str] | None) -> tuple[argparse.Namespace, Scale]:
    """The options of the command line, and the size that they ask for."""
    usual = Scale()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=usual.rows, help="rows of all views, rounded down to whole samples")
    for field in fields(Scale):
        if field.name != "samples":
            kind = type(getattr(usual, field.name))
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=getattr(usual, field.name))
    parser.add_argument("--scratch", type=Path, default=Path("runs/bench_scale"), help="where the store is made")
    parser.add_argument("--keep", action="store_true", help="leave the store there")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bench_scale.json"))
    options = parser.parse_args(words)
    chosen = {field.name: getattr(options, field.name) for field in fields(Scale) if field.name != "samples"}
    try:
        return options, Scale(samples=options.rows // (1 + max(0, options.views)), **chosen)
    except ValueError as error:
        parser.error(str(error))


def stage(folder: Path, name: str) -> Figures:
    """What a stage took, now or in a run that was interrupted later."""
    path = folder / f"{name}.json"
    if not path.exists():
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        code = start(folder, name)
        if not path.exists() or code not in (0, -signal.SIGKILL):  # the stage cache is killed when it has written
            sys.exit(f"stage {name} ended with exit code {code}; the same command goes on from what is finished")
        aside = path.with_suffix(".new")
        figures = {**_read(path), "process_seconds": time.perf_counter() - started}
        aside.write_text(json.dumps(figures), encoding="utf-8")
        aside.replace(path)
    return {"process_seconds": 0.0, **_read(path)}


def start(folder: Path, name: str) -> int:
    """Run a stage in a process of its own; its exit code, or minus the signal that it died of."""
    script = Path(__file__).with_name("scale_stages.py")
    return subprocess.run([sys.executable, str(script), name, str(folder)], check=False).returncode


def disk_use(store: Path) -> tuple[int, int]:
    """Files of a store, and their bytes."""
    sizes = [Path(folder, name).stat().st_size for folder, _, names in os.walk(store) for name in names]
    return len(sizes), sum(sizes)


def evidence() -> Figures:
    """On what it was measured; only now, since torch makes this process large."""
    import machine

    from logitcache.threads import set_threads

    set_threads()  # as in every stage
    return machine.evidence()


def table(results: Mapping[str, Any]) -> str:
    """The figures for people."""
    scale, store = results["scale"], results["store"]
    lines = [f"{'stage':8} {'rows':>12} {'seconds':>9} {'rows/s':>12} {'CPU s':>9} {'peak MB':>9} {'loaded MB':>9}"]
    for name, each in results["stages"].items():
        if "rows" in each:
            memory = f"{each['peak_bytes'] / 1e6:9.0f} {each['loaded_bytes'] / 1e6:9.0f}"
            rate = f"{each['seconds']:9.1f} {each['rows_per_second']:12,.0f} {each['cpu_seconds']:9.1f}"
            lines.append(f"{name:8} {each['rows']:12,} {rate} {memory}")
    gigabytes, minutes = store["bytes"] / 1e9, results["seconds"] / 60
    lines.append(
        f"{scale['rows']:,} rows of {scale['classes']} classes: {store['objects']:,} objects, {gigabytes:.2f} GB, "
        f"{store['bytes_per_row']:.0f} bytes a row; {minutes:.1f} minutes in all"
    )
    return "\n".join(lines)


def _read(path: Path) -> Figures:
    """A record of figures."""
    figures: Figures = json.loads(path.read_text(encoding="utf-8"))
    return figures


if __name__ == "__main__":
    main()
