"""Made ``encodings.zarr`` and ``encodings.npz``, once; never to be made again.

    python tests/store/golden/make_encodings.py FOLDER     (tests on the path)

A store of format version 1 with a teacher in each encoding that ``version1.zarr`` lacks: spectral with levels, with a
head, with a step given by hand and in the portable codec; topk; features as codes. ``encodings.npz`` holds the arrays
of every block and what they decode to.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from builders import KINDS, Plan

from logitcache.store import open_store

NAMES = ("spectral", "head", "step", "topk", "portable")
PLAN = Plan(views=2, samples=40, classes=6, block_rows=16, dataset="golden")


def main(folder: Path) -> None:
    """Write the store and the values that it must give."""
    for number, name in enumerate(NAMES):
        plan = replace(PLAN, teacher=name, encoding=KINDS[name], seed=number)
        if name == "spectral":
            plan = replace(plan, features=3, feature_step=0.03125)
        plan.write(folder / "encodings.zarr")
    np.savez_compressed(folder / "encodings.npz", **values(folder / "encodings.zarr"))


def values(path: Path) -> dict[str, np.ndarray]:
    """The arrays of every block as they are stored, and what they decode to."""
    found = {}
    for name in NAMES:
        reader = open_store(path).logits(name)
        for view in range(reader.views):
            for block in range(reader.blocks):
                place = f"{name}/{view}/{block}"
                found |= {f"{place}/{array}": part for array, part in reader.values(view, block).items()}
                found[f"{place}/decoded"] = reader.read(view, block)
                if reader.record.features:
                    found[f"{place}/features"] = reader.features(view, block)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
