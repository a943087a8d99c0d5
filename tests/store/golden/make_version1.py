"""Made ``version1.zarr`` and ``version1.npz``, once, with logitcache at commit d290268; never to be made again.

    python tests/store/golden/make_version1.py FOLDER     (package and tests of that commit on the path)

The store is what format version 1 promises to readers of all later versions: two splits, a uniform int16 teacher with
features and classifier, a lossless float32 teacher, three views of 40 samples in blocks of 16, and the last view of
each teacher unfinished: its last block is not committed, its commits are not folded. ``version1.npz`` holds what every
block of it decodes to, NaN where there is no block.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from logitcache.store import (
    EncodingOptions,
    SplitContent,
    SplitRecord,
    StoreRecord,
    TeacherContent,
    TeacherRecord,
    create_store,
    open_store,
    resolve,
)

CLASSES, WIDTH, BLOCK_ROWS = 5, 3, 16
SAMPLES = {"train": 40, "test": 20}
VIEWS = {"train": 3, "test": 1}
ENCODINGS = {"big": EncodingOptions(max_kl=1e-3), "exact": EncodingOptions(kind="lossless")}
LEFT_OUT = (2, 2)


def main(folder: Path) -> None:
    """Write the store and the values that it must give."""
    write(folder / "version1.zarr")
    np.savez_compressed(folder / "version1.npz", **values(folder / "version1.zarr"))


def write(path: Path) -> None:
    """The store."""
    random = np.random.default_rng(1)
    root = StoreRecord("golden", ("ant", "bée", "cat", "dog", "eel"), {"kind": "crop_flip", "padding": 4, "seed": 7})
    splits = [split_content(name) for name in SAMPLES]
    teachers = [teacher_content(split, name, random) for split in SAMPLES for name in ENCODINGS]
    for writer in create_store(path, root, splits, teachers):
        for view, block in writer.pending():
            rows = len(writer.rows(block))
            logits = random.normal(0, 4, (rows, CLASSES)).astype(np.float32)
            features = random.normal(0, 1, (rows, WIDTH)).astype(np.float32)
            if (view, block) != LEFT_OUT:
                writer.write(view, block, logits, features if writer.record.features else None)
        writer.finish()


def split_content(name: str) -> SplitContent:
    """A split whose samples are every third of a larger data set."""
    count = SAMPLES[name]
    record = SplitRecord(name, count, f"{name:f<16}", f"{name:p<16}")
    return SplitContent(record, np.arange(count) % CLASSES, 100 + 3 * np.arange(count))


def teacher_content(split: str, name: str, random: np.random.Generator) -> TeacherContent:
    """The uniform teacher keeps features and classifier, the lossless one neither."""
    features = WIDTH if name == "big" else 0
    record = TeacherRecord(
        name=name,
        model="cnn-4-8",
        weights=f"{name:w<16}",
        precision="float32",
        provenance="network",
        encoding=resolve(ENCODINGS[name]),
        views=VIEWS[split],
        samples=SAMPLES[split],
        classes=CLASSES,
        block_rows=BLOCK_ROWS,
        chunk_rows=BLOCK_ROWS // 2,
        features=features,
        taus=(1.0, 4.0),
    )
    shapes = {"weight": (CLASSES, WIDTH), "bias": (CLASSES,)} if features else {}
    classifier = {part: random.normal(0, 1, shape).astype(np.float32) for part, shape in shapes.items()}
    return TeacherContent(split, record, classifier)


def values(path: Path) -> dict[str, np.ndarray]:
    """Every array that the store decodes to, by name."""
    store, found = open_store(path), {}
    for split in store.splits:
        found |= {f"{split}/labels": store.labels(split), f"{split}/index": store.index(split)}
        for teacher in store.teachers(split):
            reader = store.logits(teacher, split)
            place = f"{split}/{teacher}"
            found |= {f"{place}/{part}": values for part, values in store.classifier(teacher, split).items()}
            readers = {"logits": reader.read, **({"features": reader.features} if reader.record.features else {})}
            widths = {"logits": CLASSES, "features": WIDTH}
            for name, read in readers.items():
                whole = np.full((reader.views, reader.samples, widths[name]), np.nan, dtype=np.float32)
                for view in range(reader.views):
                    for block in range(reader.blocks):
                        rows = reader.rows(block)
                        if reader.has(view, block):
                            whole[view, rows.start : rows.stop] = read(view, block)
                found[f"{place}/{name}"] = whole
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
