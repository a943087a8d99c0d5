"""The sections about the store and its teachers: bytes, fidelity, statistics of the teachers' logits.

Each takes the story and gives HTML, '' where there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logitcache.report.charts import Axis, Bar, Bars, Lines, Series
from logitcache.report.markup import bytes_text, details, fixed, grid, note, paragraph, power, section, short, table
from logitcache.report.sources import Cells, number
from logitcache.report.story import Cached, Story, cached
from logitcache.report.themes import MUTED

__all__ = ["fidelity", "size", "teachers"]

DRAWN = 4
"""Figures of fidelity on the page; all numbers are in the table."""

MANY = 20
"""Classes above which only the hardest and the easiest are shown."""


def size(story: Story) -> str:
    """Bytes by array, and beside float16."""
    parts = cached(story.evidence)
    if not parts:
        return ""
    head = ("split", "teacher", "array", "encoding", "views", "rows", "bytes", "bytes per row", "float16", "ratio")
    cells = [line for part in parts for line in _array_lines(part)]
    first = next((part for part in parts if part.split == "train"), parts[0])
    same = [part for part in parts if part.split == first.split]
    whole = float(first.record["float16_bytes_per_row"])
    items = [_array_bar(part, array, whole, alone=len(same) == 1) for part in same for array in _logit_arrays(part)]
    items.append(Bar("float16", whole, f"{whole:.3g}"))
    spoken = ", ".join(f"{item.name} {item.value:.3g}" for item in items)
    title = f"Bytes of one row of logits, {first.split} split"
    chart = Bars(Axis("bytes per row"), "stored as", tuple(items))
    drawn = story.figure(chart, "bytes", title, spoken)
    missing = [
        f"{part.split}/{part.teacher}: {part.record['committed']} of {part.record['blocks']} blocks are committed."
        for part in parts
        if part.record["committed"] != part.record["blocks"]
    ]
    text = "A row is one view of one sample. Bytes are those of the committed blocks, as they lie in the store."
    told = (table(head, cells, texts=4), *map(note, missing), _provenance(story, parts))
    return section("The store", paragraph(text), grid([drawn]), *told)


def _logit_arrays(part: Cached) -> list[Mapping[str, Any]]:
    """The arrays that stand for the logits."""
    return [array for array in part.record["arrays"] if array["name"] != "features"]


def _array_bar(part: Cached, array: Mapping[str, Any], whole: float, *, alone: bool) -> Bar:
    """Bytes of a row in one array, beside those of float16; the teacher is named where it is not alone."""
    name = str(array["name"]) if alone else f"{part.teacher}: {array['name']}"
    each = float(array["bytes_per_row"])
    return Bar(name, each, f"{each:.3g}  (× {each / whole:.2f})", highlight=True)


def _provenance(story: Story, parts: Sequence[Cached]) -> str:
    """Where the rows come from: data, views, networks and their weights."""
    info = story.evidence.info or {}
    known = {"kind", "count", "padding", "transforms", "seed"}
    views = {key: value for key, value in dict(info.get("views") or {}).items() if key in known}
    facts = [
        ("data set", ", ".join(f"{key} {value}" for key, value in dict(info.get("dataset") or {}).items())),
        ("views", ", ".join(f"{key} {value}" for key, value in views.items())),
        ("format", f"version {info.get('format_version', 'unknown')}"),
    ]
    for split in info.get("splits", ()):
        samples, noise = f"{int(split['samples']):,} samples", split.get("noise")
        marks = (f"fingerprint {split['fingerprint']}" if split.get("fingerprint") else "", str(noise) if noise else "")
        facts.append((f"split {split['split']}", ", ".join(filter(None, (samples, *marks)))))
    for part in parts:
        told = (
            f"{key} {part.record[key]}" for key in ("model", "weights", "precision", "provenance") if key in part.record
        )
        facts.append((f"{part.teacher}, {part.split}", ", ".join(told)))
    return details("Where the rows come from", table(("what", "as the store records it"), facts, texts=2))


def _array_lines(part: Cached) -> list[tuple[str, ...]]:
    """One line an array; only logits are set beside float16."""
    return [_array_line(part, array) for array in part.record["arrays"]]


def _array_line(part: Cached, array: Mapping[str, Any]) -> tuple[str, ...]:
    """Bytes of one array."""
    record, each = part.record, float(array["bytes_per_row"])
    float16 = float(record["float16_bytes_per_row"])
    beside = (short(float16), fixed(each / float16)) if array["name"] != "features" else ("–", "–")
    what = (part.split, part.teacher, str(array["name"]), str(record["encoding"]["kind"]))
    rows = (str(record["views"]), f"{record['rows']:,}")
    return (*what, *rows, bytes_text(array["bytes"]), short(each), *beside)


def fidelity(story: Story) -> str:
    """Measured KL of the stored logits beside its bound, at each temperature."""
    parts = [part for part in cached(story.evidence) if part.record.get("fidelity")]
    if not parts:
        return ""
    head = ("split", "teacher", "τ", "bound, nats", "largest, nats", "largest / bound", "mean, nats")
    lossy = sorted((part for part in parts if max(part.record["fidelity"]["kl_largest"]) > 0), key=_nearest)
    drawn = [_fidelity_figure(story, part) for part in lossy[:DRAWN]]
    left = f"Of {len(lossy)}, the {DRAWN} that come closest to their bounds." if len(lossy) > DRAWN else ""
    lines = [line for part in parts for line in _fidelity_lines(part)]
    numbers = details("In numbers", table(head, lines, texts=2), *(note(_error_note(part)) for part in parts))
    told = " ".join(filter(None, (_fidelity_sentence(parts), left)))
    return section("Fidelity of the stored logits", paragraph(told), grid(drawn), numbers)


def _nearest(part: Cached) -> float:
    """Sorts what comes closest to its bound first; a bound of nothing counts as far."""
    found = part.record["fidelity"]
    shares = [largest / bound for largest, bound in zip(found["kl_largest"], found["kl_bound"], strict=True) if bound]
    return -max(shares, default=0.0)


def _fidelity_figure(story: Story, part: Cached) -> str:
    """Bound, largest and mean KL by temperature."""
    found = part.record["fidelity"]
    bound = [value or 0.0 for value in found["kl_bound"]]
    chart = _bounds_chart(found["taus"], bound, found["kl_largest"], found["kl_mean"])
    title = f"{part.split} split, {part.teacher}"
    spoken = "KL by temperature: bound, largest row and mean row."
    return story.figure(chart, f"fidelity {part.split} {part.teacher}", title, spoken)


def _bounds_chart(
    taus: Sequence[float], bound: Sequence[float], largest: Sequence[float], mean: Sequence[float]
) -> Lines:
    """KL of the stored logits by temperature: bound, largest and mean measured, in nats; zeros are left out."""
    lines = (("bound", bound, MUTED), ("largest row", largest, 0), ("mean row", mean, 3))
    series = []
    for name, values, colour in lines:
        kept = [(float(tau), float(value)) for tau, value in zip(taus, values, strict=True) if value > 0]
        xs, ys = tuple(tau for tau, _ in kept), tuple(value for _, value in kept)
        series.append(Series(name, xs, ys, colour, dashed=name == "bound", marks=name != "bound"))
    x = Axis("temperature τ", log=True, ticks=tuple(map(float, taus)))
    return Lines(x, Axis("KL(teacher || stored), nats", log=True), tuple(series))


def _fidelity_lines(part: Cached) -> list[tuple[str, ...]]:
    """One line a temperature."""
    found = part.record["fidelity"]
    columns = (found["taus"], found["kl_bound"], found["kl_largest"], found["kl_mean"])
    return [
        (part.split, part.teacher, f"{tau:g}", _bound(bound), power(largest), _ratio(largest, bound), power(mean))
        for tau, bound, largest, mean in zip(*columns, strict=True)
    ]


def _bound(value: float | None) -> str:
    """A bound, where there is one at this temperature."""
    return "none" if value is None else power(value)


def _ratio(part: float, whole: float | None) -> str:
    """A share; a dash where the whole is nothing."""
    return fixed(part / whole) if whole else "–"


def _fidelity_sentence(parts: Sequence[Cached]) -> str:
    """Whether every row stays within the bound."""
    above = [
        f"{part.split}/{part.teacher} at τ = {tau:g}"
        for part in parts
        for tau, bound, largest in zip(
            *(part.record["fidelity"][key] for key in ("taus", "kl_bound", "kl_largest")), strict=True
        )
        if bound is not None and largest > bound
    ]
    rows = sum(int(part.record["rows"]) for part in parts)
    if above:
        return (
            f"KL(teacher || stored) was measured for all {rows:,} rows; it lies ABOVE the bound for {', '.join(above)}."
        )
    return (
        f"KL(teacher || stored) was measured for all {rows:,} rows when they were written; none lies above its bound."
    )


def _error_note(part: Cached) -> str:
    """The largest error of a logit beside half a step."""
    found = part.record["fidelity"]
    return (
        f"{part.split}/{part.teacher}: {part.record.get('encoding_text', '')}; largest error of a logit "
        f"{short(found['largest_error'])}, root mean square {short(found['rmse'])}."
    )


def teachers(story: Story) -> str:
    """Accuracy, entropy and logits of the teachers, and their classes."""
    evidence = story.evidence
    if not evidence.teachers:
        return ""
    records = {part.teacher: part.record for part in cached(evidence)}
    measures = ("accuracy, %", "entropy, nats", "logit mean", "logit variance")
    head = ("teacher", "network", "weights", "precision", "split", "samples", *measures)
    lines = [_teacher_line(cells, records.get(cells["teacher"], {})) for cells in evidence.teachers]
    text = "Measured on the clean view of the stored logits; entropy at τ = 1, mean over samples."
    return section("Teachers", paragraph(text), table(head, lines, texts=5), *_class_tables(story))


def _teacher_line(cells: Cells, record: Mapping[str, Any]) -> tuple[str, ...]:
    """One teacher in one split: where it comes from, and its measures."""
    origin = (str(record.get(key, "–")) for key in ("model", "weights", "precision"))
    measures = (short(number(cells, key)) for key in ("mean_entropy", "logit_mean", "logit_variance"))
    accuracy = fixed(number(cells, "accuracy"))
    return (cells["teacher"], *origin, cells["split"], f"{int(cells['samples']):,}", accuracy, *measures)


def _class_tables(story: Story) -> list[str]:
    """Classes of the test split, the hardest first; a table a teacher."""
    test = [cells for cells in story.evidence.classes if cells.get("split") == "test"]
    return [
        _class_table(teacher, [cells for cells in test if cells["teacher"] == teacher])
        for teacher in dict.fromkeys(cells["teacher"] for cells in test)
    ]


def _class_table(teacher: str, classes: list[Cells]) -> str:
    """The classes of one teacher by rising accuracy."""
    ordered = sorted(classes, key=lambda cells: number(cells, "accuracy") or 0.0)
    shown = ordered if len(ordered) <= MANY else ordered[: MANY // 2] + ordered[-MANY // 2 :]
    head = (
        "class",
        "samples",
        "accuracy, %",
        "entropy, nats",
        "its logit: mean",
        "variance",
        "mean over its own samples",
    )
    keys = ("mean_entropy", "logit_mean", "logit_variance", "own_logit_mean")
    lines = [
        (
            cells["class"],
            cells["samples"],
            fixed(number(cells, "accuracy")),
            *(short(number(cells, key)) for key in keys),
        )
        for cells in shown
    ]
    part = "" if len(shown) == len(ordered) else f" (the {MANY // 2} hardest and easiest of {len(ordered)})"
    return details(f"Classes of the test split for {teacher}{part}", table(head, lines))
