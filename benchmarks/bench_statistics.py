"""What the one pass over a store costs: ``make bench-statistics``.

    python benchmarks/bench_statistics.py [--only ratio,obvious,big,kill] [--rows 40000] [--gigabytes 20]
        [--logits NPZ] [--scratch DIR] [--out JSON]

* ``ratio``: on real logits of 1001 classes, stored as ``auto`` and ``uniform``: all logit measures at 6 temperatures
  but the covariance over the decode-only time (target: at most 4); the covariance over one matrix product of the same
  shape beside decoding (at most 1.5).
* ``obvious``: the same measures written the obvious way in dask.array (at least 3 times slower), and that the numbers
  are the same.
* ``big``: stores of N / 2 and N decoded gigabytes, written here; seconds, GB/s and peak memory of all logit measures
  on both, each in a process of its own (target: below 2 GB, the same for both).
* ``kill``: a worker of a LocalCluster is killed in the middle; the result must be the same.

Prints all of it, and writes it with machine, versions and command to ``benchmarks/results/bench_statistics.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch loads, as the command line does

import numpy as np
import torch
from machine import evidence
from statistics_made import obvious, synthetic_rows, write_labelled
from store_made import SPLIT, TEACHER, load_logits

from logitcache import statistics
from logitcache.memory import keep_freed_memory
from logitcache.store import EncodingOptions, open_store
from logitcache.threads import cores, single_threaded_pool

SHARED = Path("../shared/data/logits/mobilenet_v2_imagenet1001.npz")
TAUS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
CLASSES = 1001


def best_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the fastest of some rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def on_all_cores(work: Callable[[int], object], blocks: int) -> None:
    """Work on blocks side by side."""
    with single_threaded_pool(cores(), "bench") as pool:
        list(pool.map(work, range(blocks)))


def ratio(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The pass over the decode-only time, by encoding."""
    found: dict[str, Any] = {}
    for kind in ("auto", "uniform"):
        path = real_store(options, folder / kind, kind)
        store = open_store(path)
        reader = store.logits(TEACHER, SPLIT)
        decode = best_seconds(lambda reader=reader: on_all_cores(lambda b: reader.read(0, b), reader.blocks))
        measure = best_seconds(lambda s=store: statistics.compute(s, statistics.LOGIT_MEASURES, taus=TAUS))
        covariance = best_seconds(lambda s=store: statistics.compute(s, ["covariance"]))

        def floor(block: int, reader: Any = reader) -> None:
            rows = torch.from_numpy(reader.read(0, block))
            _ = rows.T @ rows

        product = best_seconds(lambda f=floor, reader=reader: on_all_cores(f, reader.blocks))
        found[kind] = {
            "encoding": reader.encoding.kind,
            "rows": reader.samples,
            "decode_seconds": decode,
            "logit_measures_over_decode": measure / decode,
            "covariance_over_decode_and_product": covariance / product,
        }
    return found


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The obvious way in dask.array, and the largest difference of its numbers from ours."""
    store = open_store(real_store(options, folder / "obvious", "uniform"))
    labels = store.labels(SPLIT)
    started = time.perf_counter()
    theirs = obvious(store, labels, TAUS)
    seconds = time.perf_counter() - started
    tree = statistics.compute(store, statistics.LOGIT_MEASURES, taus=TAUS)
    ours = best_seconds(lambda: statistics.compute(store, statistics.LOGIT_MEASURES, taus=TAUS))
    moments, tau, topk = (tree[name].to_dataset().squeeze() for name in ("moments", "tau", "topk"))
    pairs = [(moments[name].values, theirs[name]) for name in ("mean", "variance", "skewness", "kurtosis")]
    pairs += [(moments["row_norm_mean"].values, theirs["row_norm"])]
    for each in TAUS:
        at, mass = tau.sel(tau=each), topk.sel(tau=each)["mass"]
        pairs += [(at[name].values, theirs[f"{name} {each:g}"]) for name in ("entropy", "confidence", "nll")]
        pairs += [(mass.sel(k=k).values, theirs[f"mass {each:g}"][k - 1]) for k in (1, 5, 50)]
    apart = max(float(np.max(np.abs(a - b) / (1 + np.abs(b)))) for a, b in pairs)
    return {
        "obvious_seconds": seconds,
        "ours_seconds": ours,
        "times_faster": seconds / ours,
        "largest_difference": apart,
    }


def big(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak memory and speed on a store, and on one of twice its size."""
    found = {}
    for gigabytes in (options.gigabytes / 2, options.gigabytes):
        rows = round(gigabytes * 1e9 / (4 * CLASSES))
        path, labels = folder / f"{gigabytes:g}.zarr", np.arange(rows, dtype=np.int64) % CLASSES
        started = time.perf_counter()
        encoding = EncodingOptions(kind="uniform", max_kl=0.01)
        write_labelled(path, labels=labels, classes=CLASSES, rows=synthetic_rows(CLASSES), options=encoding)
        written = time.perf_counter() - started
        disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        words = [sys.executable, __file__, "--child", str(path)]
        child = subprocess.run(words, check=True, capture_output=True, text=True)
        figures = json.loads(child.stdout.splitlines()[-1])
        figures |= {"written_seconds": written, "disk_gb": disk / 1e9, "gb_per_second": gigabytes / figures["seconds"]}
        print(f"{gigabytes:g} GB: {figures}", flush=True)
        found[f"{gigabytes:g} GB"] = figures
    return found


def child(path: Path) -> None:
    """All logit measures on a store; prints seconds and the process's peak memory."""
    keep_freed_memory()
    started = time.perf_counter()
    statistics.compute(open_store(path), statistics.LOGIT_MEASURES, taus=TAUS)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gigabytes()}))


def peak_gigabytes() -> float:
    """This process's own peak; that of getrusage is its parent's where the parent had more when it started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9


def kill(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A worker is killed when a quarter of the time is over."""
    from distributed import Client, LocalCluster

    store = open_store(real_store(options, folder / "kill", "auto", block=512))
    names = [*statistics.LOGIT_MEASURES, "covariance"]
    expected = statistics.compute(store, names, taus=TAUS)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        started = time.perf_counter()
        statistics.compute(store, names, taus=TAUS, scheduler=client)
        undisturbed = time.perf_counter() - started
        pids = client.run(os.getpid)
        timer = threading.Timer(undisturbed / 4, os.kill, (next(iter(pids.values())), signal.SIGKILL))
        timer.start()
        started = time.perf_counter()
        found = statistics.compute(store, names, taus=TAUS, scheduler=client)
        seconds = time.perf_counter() - started
        timer.join()
    same = all(
        np.array_equal(values, found[name][variable], equal_nan=True)
        for name, group in expected.children.items()
        for variable, values in group.data_vars.items()
    )
    return {
        "undisturbed_seconds": undisturbed,
        "killed_seconds": seconds,
        "same_to_the_last_bit": same,
    }


def real_store(options: argparse.Namespace, folder: Path, kind: str, block: int = 8192) -> Path:
    """The real logits, repeated to so many rows, in a store."""
    folder.mkdir(parents=True)
    logits = load_logits(options.logits)
    labels = np.load(options.logits)["labels"].astype(np.int64)
    repeated = np.arange(options.rows) % len(logits)
    write_labelled(
        folder / "store.zarr",
        labels=labels[repeated],
        classes=CLASSES,
        rows=lambda first, last: logits[repeated[first:last]],
        options=EncodingOptions(kind=kind),
        block=block,
    )
    return folder / "store.zarr"


SECTIONS = {"ratio": ratio, "obvious": compare, "big": big, "kill": kill}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas between")
    parser.add_argument("--rows", type=int, default=40_000, help="rows of real logits, repeated")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="decoded size of the larger synthetic store")
    parser.add_argument("--logits", type=Path, default=SHARED, help=".npz with logits (samples, classes) and labels")
    parser.add_argument("--scratch", type=Path, help="where stores are made; default the system's folder for it")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bench_statistics.json"))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    keep_freed_memory()
    results: dict[str, Any] = {**evidence(), "figures": {}}
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory(prefix="bench_statistics_", dir=options.scratch) as folder:
            found = results["figures"][name] = SECTIONS[name](options, Path(folder))
        print(f"== {name}\n{json.dumps(found, indent=1)}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
