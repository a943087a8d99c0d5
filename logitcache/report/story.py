"""What all sections of a page share: the evidence, its rows and comparisons, and a place for figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logitcache.report import figures
from logitcache.report.markup import picture
from logitcache.report.sources import Cells, Evidence, number
from logitcache.report.tables import Comparison, Row, compare, groups, make_rows

__all__ = ["Cached", "Story", "cached", "tell"]


@dataclass(frozen=True)
class Cached:
    """One teacher's logits in one split, as the store describes them."""

    split: str
    samples: int
    record: Mapping[str, Any]

    @property
    def teacher(self) -> str:
        """The teacher's name."""
        return str(self.record["teacher"])

    @property
    def logit_bytes(self) -> float:
        """Bytes of all arrays but features and the classifier's, that is of what stands for the logits."""
        return float(sum(array["bytes"] for array in self.record["arrays"] if array["name"] != "features"))

    @property
    def share(self) -> float:
        """Bytes of the logits over those of float16."""
        return self.logit_bytes / max(float(self.record["float16_bytes_per_row"]) * int(self.record["rows"]), 1.0)


@dataclass(frozen=True)
class Story:
    """Evidence with what follows from it."""

    evidence: Evidence
    rows: tuple[Row, ...]
    groups: Mapping[str, list[Row]]
    comparisons: Mapping[str, Comparison]
    colours: Mapping[str, int]
    """Index of the colour of each objective, the same in all figures."""

    @property
    def runs_done(self) -> int:
        """Finished runs with an accuracy."""
        return sum(row.n for row in self.rows)

    def test_accuracy(self) -> dict[str, float]:
        """Test accuracy of each teacher that was measured, percent."""
        measured = ((cells, number(cells, "accuracy")) for cells in self.teachers("test"))
        return {cells["teacher"]: value for cells, value in measured if value is not None}

    def teachers(self, split: str) -> list[Cells]:
        """The measured teachers of a split."""
        return [cells for cells in self.evidence.teachers if cells.get("split") == split]

    def figure(self, draw: figures.Draw, name: str, title: str, alt: str) -> str:
        """Draw a figure into the run's ``figures`` folder and give the HTML that shows it."""
        plain = re.sub(r"\W+", "-", name.lower()).strip("-")
        return picture(figures.save(draw, self.evidence.directory / "figures", plain), title, alt)


def tell(evidence: Evidence) -> Story:
    """The story of a run directory."""
    rows = make_rows(evidence.runs)
    labels = dict.fromkeys(row.setting.label for row in rows)
    return Story(
        evidence=evidence,
        rows=rows,
        groups=groups(rows),
        comparisons={one.group: one for one in compare(rows)},
        colours={label: place for place, label in enumerate(labels)},
    )


def cached(evidence: Evidence) -> list[Cached]:
    """Every teacher's logits in every split of the store; none without a store."""
    splits = (evidence.info or {}).get("splits", ())
    return [Cached(split["split"], int(split["samples"]), record) for split in splits for record in split["teachers"]]
