"""What all sections of a page share: the evidence, its rows and comparisons, and the figures told so far."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from logitcache.report.charts import Chart
from logitcache.report.embedding import placed
from logitcache.report.interactive import draw
from logitcache.report.markup import captioned
from logitcache.report.measured import Key, Measured
from logitcache.report.sources import Cells, Evidence, number
from logitcache.report.tables import Comparison, Row, compare, groups, make_rows

__all__ = ["Cached", "Story", "cached", "tell"]


STUDENTS = "students_statistics"
"""Folder of what ``logitcache stats DIR/students.zarr`` measured."""

_HASH = 9
"""Characters at the end of a run id that are its own."""


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
    """Number of the colour of each objective, the same in all figures."""
    charts: dict[str, Chart] = field(default_factory=dict)
    """The figures told so far by name: what the page shows, and what is drawn again for papers."""

    @property
    def measured(self) -> Measured:
        """The tidy tables of the teachers' statistics and of the students'."""
        return Measured((self.evidence.directory / "statistics", self.evidence.directory / STUDENTS))

    def run_of(self, name: str) -> str:
        """The run of a network's name in tables: its run id, which may be cut in the middle; '' for a teacher."""
        ids = [run.run_id for run in self.evidence.runs]
        whole = [each for each in ids if each.lstrip("-.") == name]
        cut = [each for each in ids if len(each) > len(name) > 2 * _HASH and each.endswith(name[-_HASH:])]
        return (whole or cut or [""])[0]

    @property
    def runs_done(self) -> int:
        """Finished runs with an accuracy."""
        return sum(row.n for row in self.rows)

    def class_names(self, measure: str, variable: str, key: Key) -> list[str]:
        """Names of the classes by number, from a measure's variable by class, or from the table of classes."""
        found = self.measured.find(measure, variable, ("class",)).get(key)
        if found:
            return [name for (name,) in found]
        whose = [(cells["teacher"], cells["split"]) for cells in self.evidence.classes]
        return [cells["class"] for cells, one in zip(self.evidence.classes, whose, strict=True) if one == whose[0]]

    def test_accuracy(self) -> dict[str, float]:
        """Test accuracy of each teacher that was measured, percent."""
        measured = ((cells, number(cells, "accuracy")) for cells in self.teachers("test"))
        return {cells["teacher"]: value for cells, value in measured if value is not None}

    def teachers(self, split: str) -> list[Cells]:
        """The measured teachers of a split."""
        return [cells for cells in self.evidence.teachers if cells.get("split") == split]

    def figure(self, chart: Chart, name: str, title: str, spoken: str) -> str:
        """The HTML that shows a figure, below a title; ``spoken`` says what is seen."""
        first = re.sub(r"[\W_]+", "-", name.lower()).strip("-")
        plain, count = first, 1
        while plain in self.charts:
            count += 1
            plain = f"{first}-{count}"
        self.charts[plain] = chart
        return captioned(title, placed(draw(chart), plain, spoken))


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
