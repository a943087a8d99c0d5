"""The sections about classes and labels: which classes look alike, and samples whose soft targets contradict them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from logitcache.report.charts import Heat
from logitcache.report.markup import details, fixed, grid, note, paragraph, section, short, table
from logitcache.report.measured import Key
from logitcache.report.sources import number
from logitcache.report.story import Story
from logitcache.report.thumbnails import Thumbnails, read_thumbnails

__all__ = ["similarity", "suspects"]

TAU = 4.0
"""The temperature of the class-to-class matrix: enough for the second likeliest classes to be seen."""

MOST = 30
"""Classes of a matrix; of more, those that are least sure of themselves."""

MATRICES = 4
"""Teachers whose matrices are drawn."""

SHOWN = 24
"""Suspicious samples on the page for each teacher and split."""


def similarity(story: Story) -> str:
    """Soft targets by true class, a matrix for each teacher of the test split, or of the train split without one."""
    drawn = []
    means = story.evidence.class_means
    splits = {cells["split"] for cells in means}
    split = "test" if "test" in splits else next(iter(sorted(splits)), "")
    chosen = [cells for cells in means if cells["split"] == split]
    teachers = list(dict.fromkeys(cells["teacher"] for cells in chosen))
    for teacher in teachers[:MATRICES]:
        chart = _matrix([cells for cells in chosen if cells["teacher"] == teacher])
        if chart is not None:
            spoken = "Matrix of soft targets in percent: true classes down, classes of the soft target across."
            title = f"Soft targets of {teacher} at τ = {TAU:g}, {split} split, %"
            drawn.append(story.figure(chart, f"classes {teacher}", title, spoken))
    if not drawn:
        return ""
    few = f" The first {MATRICES} of {len(teachers)} teachers." if len(teachers) > MATRICES else ""
    text = (
        f"Which classes look like which: the soft target at τ = {TAU:g} of each true class, softmax of its mean logits "
        "over τ, which is the normalised geometric mean of its samples' soft targets. Clean view." + few
    )
    return section("Classes that look alike", paragraph(text), grid(drawn))


def _matrix(lines: Sequence[Mapping[str, str]]) -> Heat | None:
    """The matrix of one teacher from mean logits by true class; None with fewer than two classes with samples."""
    found: dict[str, list[float]] = {}
    names = [column.removeprefix("logit_") for column in lines[0] if column.startswith("logit_")]
    for cells in lines:
        means = [number(cells, f"logit_{name}") for name in names]
        known = [value for value in means if value is not None]
        if len(known) == len(means) > 1:
            found[cells["class"]] = [100 * share for share in _softmax(known, TAU)]
    kept = sorted((name for name in names if name in found), key=lambda name: found[name][names.index(name)])[:MOST]
    shown = [name for name in names if name in kept]
    if len(shown) < 2:
        return None
    places = [names.index(name) for name in shown]
    values = tuple(tuple(found[name][place] for place in places) for name in shown)
    return Heat(
        "class of the soft target", "true class", "soft target, %", tuple(shown), tuple(shown), values, 0, 0.5, 0.5
    )


def _softmax(logits: Sequence[float], tau: float) -> list[float]:
    """Probabilities at a temperature."""
    top = max(logits)
    powers = [math.exp((value - top) / tau) for value in logits]
    return [value / sum(powers) for value in powers]


def suspects(story: Story) -> str:
    """Samples whose soft targets of a teacher contradict their label, the worst first, and the estimated noise rate."""
    measured = story.measured
    rates = measured.one("labels", "label_noise_rate")
    contradicted = measured.one("labels", "label_contradicted")
    pictures = read_thumbnails(story.evidence.directory)
    parts = []
    for key in contradicted:
        teacher, split = key
        if story.run_of(teacher):
            continue
        share = f"{fixed(contradicted[key])} % of labels are not the most probable class"
        rate = f"; {fixed(rates[key])} % are estimated to be wrong (confident joint)" if key in rates else ""
        parts.append(f"<h3>{escape(f'{split} split, {teacher}')}</h3>{paragraph(f'{share}{rate}.')}")
        parts.append(_gallery(story, key, pictures) + _class_table(story, key))
    if not parts:
        return ""
    text = (
        "Samples whose most probable class is another than their label, by the difference of the two probabilities at "
        "τ = 1. Where the teacher was trained on these very labels, it contradicts fewer of them than are wrong."
    )
    return section("Suspicious labels", note(text), *parts)


def _gallery(story: Story, key: Key, pictures: Thumbnails) -> str:
    """The first suspects as cards."""
    columns = {
        name: story.measured.find("labels", f"suspect_{name}", ("rank",)).get(key, {})
        for name in ("row", "index", "label", "predicted", "p_label", "p_predicted")
    }
    names = story.class_names("labels", "label_class_rows", key)
    cards = []
    for rank in list(columns["row"])[:SHOWN]:
        cells = {name: values.get(rank, math.nan) for name, values in columns.items()}
        if not any(map(math.isnan, (cells["label"], cells["predicted"]))):
            cards.append(_card(cells, names, key[1], pictures))
    return f'<div class="suspects">{"".join(cards)}</div>' if cards else ""


def _card(cells: Mapping[str, float], names: Sequence[str], split: str, pictures: Thumbnails) -> str:
    """One suspect: picture, sample, label and what the teacher says instead."""
    index = cells["index"] if cells["index"] >= 0 else cells["row"]
    picture = pictures.get((split, int(index)), "")
    shown = f'<img src="{escape(picture)}" alt="">' if picture else '<span class="no-picture"></span>'
    label, predicted = (_name(names, cells[name]) for name in ("label", "predicted"))
    told = (
        f"<b>sample {int(index)}</b>label {escape(label)}, {100 * cells['p_label']:.1f}\u00a0%<br>"
        f"says {escape(predicted)}, {100 * cells['p_predicted']:.1f}\u00a0%"
    )
    return f'<div class="suspect">{shown}<span>{told}</span></div>'


def _name(names: Sequence[str], place: float) -> str:
    """The name of a class by its number."""
    return names[int(place)] if 0 <= place < len(names) else f"class {place:g}"


def _class_table(story: Story, key: Key) -> str:
    """Shares by label, the most contradicted first."""
    columns = [
        story.measured.find("labels", f"label_class_{name}", ("class",)).get(key, {})
        for name in ("rows", "contradicted", "noise_rate")
    ]
    rows, wrong, noise = columns
    order = sorted(rows, key=lambda place: -wrong.get(place, 0.0))[:MOST]
    lines = [(place[0], f"{rows[place]:.0f}", short(wrong.get(place)), short(noise.get(place))) for place in order]
    head = ("label", "samples", "contradicted, %", "estimated to be wrong, %")
    return details("By label", table(head, lines)) if lines else ""
