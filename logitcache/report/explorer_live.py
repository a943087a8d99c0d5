"""The explorer of a whole store, served live on this machine: pick split, teacher, class, sample, view and tau.

One Bokeh document a reader. Python reads the logits of the sample that is asked for, whose block is decoded once;
everything that follows from the temperature happens in the browser, by the same ``explorer.js`` as in the page.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models.layouts import Row
from bokeh.models.widgets.buttons import Button
from bokeh.models.widgets.inputs import Select, Spinner
from numpy.typing import NDArray

from logitcache.errors import LogitcacheError
from logitcache.report.explorer_marks import WIDGET, build, row_of
from logitcache.report.samples import Source
from logitcache.report.thumbnails import thumbnail
from logitcache.store import LogitsReader, Store

__all__ = ["ALL", "Live", "Pictures", "Shown"]

ALL = "all classes"
_NOTHING: NDArray[np.float32] = np.zeros((0, 0), np.float32)

Pictures = Callable[[str, int, int], NDArray[Any]]
"""(split, row, view) -> pixels (C, H, W); see ``thumbnail``."""

_BLOCKS = 4
"""Decoded blocks that are kept: neighbours are asked for one after another."""


@dataclass(frozen=True)
class Shown:
    """What can be seen: a store, and what stands beside it."""

    store: Store
    students: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    """By split, the same ones in each that has any; logits of all its samples, clean view."""
    pictures: Pictures | None = None
    """None: no data were given."""


class Live:
    """The explorer in one document: widgets, and what becomes of a choice."""

    def __init__(self, shown: Shown, document: Document) -> None:
        self._shown = shown
        splits: list[Any] = [name for name in shown.store.splits if shown.store.teachers(name)]
        first = "test" if "test" in splits else splits[0]
        options: dict[str, Any] = {"stylesheets": [WIDGET], "width": 146}
        self.split = Select(title="split", options=splits, value=first, name="split", **options)
        self.teacher = Select(title="teacher", name="teacher", **options)
        classes: list[Any] = [ALL, *dict.fromkeys(shown.store.classes)]
        self.label = Select(title="true class", options=classes, value=ALL, name="class", **options)
        self.place = Spinner(title="sample", low=0, step=1, mode="int", value=0, name="sample", **options)
        self.view = Select(title="view", name="view", **options)
        self._read = lru_cache(maxsize=_BLOCKS)(self._block)
        self._read_student = lru_cache(maxsize=2 * _BLOCKS)(self._student_block)
        self._index, self._labels = cache(shown.store.index), cache(shown.store.labels)
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._busy = False
        self._fill_split()
        others = max(shown.students.values(), key=len, default=())
        data = self._row()
        self.explorer = build(shown.store.classes, ("teacher", *(one.name for one in others)), [data])
        page = column(self._choices(), self.explorer.layout, sizing_mode="stretch_width", name="page")
        document.add_root(page)
        document.on_event("document_ready", lambda _event: self._draw())

    def _choices(self) -> Row:
        """The widgets side by side, tied to what they change."""
        for widget, filled in ((self.split, self._fill_split), (self.teacher, self._fill_views)):
            widget.on_change("value", self._reaction(filled))
        self.label.on_change("value", self._reaction(self._fill_rows))
        self.place.on_change("value", self._reaction(lambda: None))
        self.view.on_change("value", self._reaction(lambda: None))
        steps = (("← previous", -1), ("next →", 1), ("any", 0))
        buttons = [self._button(name, step) for name, step in steps]
        widgets = [self.split, self.teacher, self.label, self.place, self.view, *buttons]
        style = ":host { flex-wrap: wrap; align-items: end; gap: .25rem .5rem; }"
        return row(*widgets, stylesheets=[style], sizing_mode="stretch_width", name="choices")

    def _button(self, name: str, step: int) -> Button:
        """A button that goes some samples on, or to any of them."""
        style = WIDGET + ".bk-btn { background: var(--card); color: var(--ink); border-color: var(--line); }"
        button = Button(label=name, width=92, stylesheets=[style], name=name)

        def go() -> None:
            count = max(len(self._rows), 1)
            here = int(self.place.value or 0)
            self.place.value = (here + step) % count if step else random.randrange(count)  # noqa: S311 - to browse

        button.on_click(go)
        return button

    def _reaction(self, filled: Callable[[], None]) -> Callable[[str, object, object], None]:
        """What happens on a change by the reader: choices that depend on it are filled, then all is drawn."""

        def react(_attribute: str, _old: object, _new: object) -> None:
            if self._busy:
                return
            self._busy = True
            try:
                filled()
                self._draw()
            finally:
                self._busy = False

        return react

    def _fill_split(self) -> None:
        """The teachers of the chosen split, and what depends on them."""
        names: list[Any] = list(self._shown.store.teachers(self.split.value))
        self.teacher.options = names
        self.teacher.value = self.teacher.value if self.teacher.value in names else names[0]
        self._fill_rows()
        self._fill_views()

    def _fill_rows(self) -> None:
        """The rows of the chosen class."""
        labels = self._labels(self.split.value)
        classes = self._shown.store.classes
        known = [number for number, name in enumerate(classes) if name == self.label.value]
        self._rows = np.flatnonzero(np.isin(labels, known)) if known else np.arange(len(labels))
        self.place.high = max(len(self._rows) - 1, 0)
        self.place.value = 0
        self.place.title = f"sample, 0..{self.place.high}"

    def _fill_views(self) -> None:
        """The views that the chosen teacher has."""
        views = self._shown.store.logits(self.teacher.value, self.split.value).views
        options: list[Any] = [(str(view), "0 (clean)" if view == 0 else str(view)) for view in range(views)]
        self.view.options = options
        if not (self.view.value or "").isdecimal() or int(self.view.value) >= views:
            self.view.value = "0"

    def _draw(self) -> None:
        """Show what is chosen; the browser fills the figure."""
        self.explorer.samples.data = {key: [value] for key, value in self._row().items()}

    def _row(self) -> dict[str, Any]:
        """The chosen sample, or why it cannot be shown."""
        if not len(self._rows):
            return row_of(-1, -1, (), _NOTHING, remark=f"no sample of class {self.label.value}")
        split, view, store = self.split.value, int(self.view.value), self._shown.store
        chosen = int(self._rows[min(max(int(self.place.value or 0), 0), len(self._rows) - 1)])
        sample, label = int(self._index(split)[chosen]), int(self._labels(split)[chosen])
        students = self._shown.students.get(split, ()) if view == 0 else ()
        try:
            block, offset = divmod(chosen, store.logits(self.teacher.value, split).block_rows)
            own = self._read(split, self.teacher.value, view, block)[offset]
            others = [self._student(split, number, chosen) for number in range(len(students))]
            picture = self._picture(split, chosen, view)
        except LogitcacheError as error:
            return row_of(sample, label, (), _NOTHING, remark=str(error))
        names = self.teacher.value, *(one.name for one in students)
        remark = f"row {chosen} of {split}, view {view}"
        return row_of(sample, label, names, np.stack([own, *others]), picture=picture, remark=remark)

    def _picture(self, split: str, chosen: int, view: int) -> str:
        """The thumbnail of the chosen view, '' without data."""
        pictures = self._shown.pictures
        return "" if pictures is None else thumbnail(pictures(split, chosen, view))

    def _student(self, split: str, number: int, chosen: int) -> NDArray[np.float32]:
        """The logits of one row of a student."""
        logits = self._shown.students[split][number].logits
        if not isinstance(logits, LogitsReader):
            return np.asarray(logits[chosen], np.float32)
        block, offset = divmod(chosen, logits.block_rows)
        row: NDArray[np.float32] = self._read_student(split, number, block)[offset]
        return row

    def _student_block(self, split: str, number: int, block: int) -> NDArray[np.float32]:
        """A decoded block of a student whose logits are in a store."""
        logits = self._shown.students[split][number].logits
        return logits.read(0, block) if isinstance(logits, LogitsReader) else _NOTHING

    def _block(self, split: str, teacher: str, view: int, block: int) -> NDArray[np.float32]:
        """A decoded block."""
        return self._shown.store.logits(teacher, split).read(view, block)
