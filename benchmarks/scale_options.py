"""How large the run of ``bench_scale`` is. Without torch: the process that starts the stages stays small.

A process begins with the peak memory that its parent had, so a large parent would hide what a stage takes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["DISTINCT_VIEWS", "MOST_CLASSES", "Scale", "adopt"]

DISTINCT_VIEWS = 50
"""What crop_flip has at the padding of these images."""
MOST_CLASSES = 1 << 16
"""A class is written in two pixels of its images."""
_SMALLEST = 100
_MEMORY = 1 << 30
_ENCODINGS = ("auto", "uniform", "spectral")


@dataclass(frozen=True)
class Scale:
    """What is cached, and how: as large as ImageNet-1k with 15 augmented views, where nothing else is said.

    Attributes:
        samples: images, each with the clean view and ``views`` augmented ones.
        views: augmented views.
        classes: logits a row.
        encoding: ``auto``, ``uniform`` or ``spectral``.
        max_kl: the promise, the default of recipes: largest KL of any row at tau >= 1, in nats.
        block: rows of a block.
        epochs: how many epochs are read, each of another view.

    Raises:
        ValueError: a number that the run cannot be made with.
    """

    samples: int = 1_281_167
    views: int = 15
    classes: int = 1000
    encoding: str = "auto"
    max_kl: float = 1e-3
    block: int = 8192
    epochs: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.views <= DISTINCT_VIEWS:
            raise ValueError(f"views = {self.views}: from 1 to {DISTINCT_VIEWS}, the distinct ones there are")
        if self.rows < _SMALLEST or self.samples < 1:
            raise ValueError(f"rows = {self.rows}: at least {_SMALLEST}, so that the last 1 % can be left to resume")
        if not 2 <= self.classes <= MOST_CLASSES:
            raise ValueError(f"classes = {self.classes}: from 2 to {MOST_CLASSES}")
        if self.encoding not in _ENCODINGS:
            raise ValueError(f"encoding = {self.encoding}: allowed are {', '.join(_ENCODINGS)}")
        if not 0 < self.max_kl <= 10:
            raise ValueError(f"max_kl = {self.max_kl:g}: above 0, at most 10")
        if self.block < 1 or self.epochs < 1:
            raise ValueError(f"block = {self.block}, epochs = {self.epochs}: at least 1 each")

    @property
    def rows(self) -> int:
        """Rows of the store: samples times all views, the clean one among them."""
        return self.samples * (1 + self.views)

    @property
    def memory(self) -> int:
        """Bytes for decoded logits while they are read: less than a view takes, however small it is."""
        return min(_MEMORY, self.samples * self.classes // 4)

    @property
    def words(self) -> str:
        """As on the command line, without folders."""
        others = {name.replace("_", "-"): value for name, value in asdict(self).items() if name != "samples"}
        return " ".join(f"--{name} {value}" for name, value in {"rows": self.rows, **others}.items())


def adopt(folder: Path, scale: Scale) -> None:
    """Make a folder for a run of this size, or find it as an interrupted run of the same size left it.

    Raises:
        ValueError: it is of another run, or of none.
    """
    path = folder / "scale.json"
    if path.exists():
        found = Scale(**json.loads(path.read_text(encoding="utf-8")))
        if found != scale:
            raise ValueError(f"{folder} is of another run ({found.words}); delete it, or give another --scratch")
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} has other files; give an empty or a new folder as --scratch")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(scale)), encoding="utf-8")
