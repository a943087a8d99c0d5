"""The section about students and the teachers they learned from: how far apart they are, and who is right where."""

from __future__ import annotations

from logitcache.report.charts import Axis, Heat, Lines, Series
from logitcache.report.markup import fixed, grid, paragraph, section, short, table
from logitcache.report.measured import Key, Values
from logitcache.report.networks import Network, networks
from logitcache.report.story import Story

__all__ = ["differences"]

MOST = 3
"""Teachers that students are set beside."""

_OUTCOMES = {"T/T": "both right", "T/F": "student alone", "F/T": "teacher alone", "F/F": "both wrong"}
"""Who is right, student/teacher, as the measure ``pair`` has it."""

_COLUMNS = (
    ("pair", "agreement", "same first answer, %"),
    ("pair", "same_error_share", "same wrong answer, %"),
    ("pair", "rank_correlation", "rank correlation of logits"),
    ("pair", "distance", "distance, logits"),
    ("pair", "shift_share", "share of it in the mean"),
    ("similarity", "similarity_cka", "CKA of features"),
)


def differences(story: Story) -> str:
    """KL by temperature, who is right, and how alike logits and features are, for each teacher."""
    shares = story.measured.find("pair", "outcome_share", ("other", "outcome"))
    shown = {key: line for key, line in networks(story, shares).items() if story.run_of(key[0])}
    teachers = list(dict.fromkeys(other for key in shown for other, _ in shares[key]))
    parts = []
    for teacher in teachers[:MOST]:
        own = {key: line for key, line in shown.items() if any(other == teacher for other, _ in shares[key])}
        drawn = [*_divergence(story, teacher, own), _outcomes(story, teacher, own, shares)]
        parts += [grid(drawn), _table(story, teacher, own)]
    if not parts:
        return ""
    text = (
        "Test split, clean view. One student an objective, the first seed of its best row, beside the teacher that it "
        "learned from; those of hard labels stand beside every teacher. Where the teacher alone is right a student "
        "has something left to learn; where the student alone is right the teacher would mislead it."
    )
    return section("Where students and teacher differ", paragraph(text), *parts)


def _divergence(story: Story, teacher: str, own: dict[Key, Network]) -> list[str]:
    """KL(teacher || student) by temperature."""
    found = story.measured.find("pair", "kl_other_this", ("other", "tau"))
    series = []
    for key, line in own.items():
        points = sorted((float(tau), value) for (other, tau), value in found.get(key, {}).items() if other == teacher)
        kept = [(tau, value) for tau, value in points if value > 0]
        xs, ys = tuple(tau for tau, _ in kept), tuple(value for _, value in kept)
        series.append(Series(line.name, xs, ys, line.colour, marks=True))
    taus = tuple(sorted({tau for one in series for tau in one.x}))
    if not taus:
        return []
    x, y = Axis("temperature τ", log=True, ticks=taus), Axis("mean KL(teacher || student), nats", log=True)
    title = f"Distance from {teacher} by temperature"
    return [story.figure(Lines(x, y, tuple(series)), f"pair kl {teacher}", title, "Mean KL by temperature.")]


def _outcomes(story: Story, teacher: str, own: dict[Key, Network], shares: dict[Key, Values]) -> str:
    """Who is right, a row a student."""
    values = tuple(tuple(shares[key].get((teacher, outcome), float("nan")) for outcome in _OUTCOMES) for key in own)
    names = tuple(line.name for line in own.values())
    columns = tuple(_OUTCOMES.values())
    chart = Heat("who is right", "student", "share of samples, %", columns, names, values, 1, 0.5)
    spoken = "Share of samples by who is right, a row a student."
    return story.figure(chart, f"pair outcomes {teacher}", f"Who is right, student or {teacher}, %", spoken)


def _table(story: Story, teacher: str, own: dict[Key, Network]) -> str:
    """How alike each student and the teacher are; what was measured of none is left out."""
    columns = []
    for measure, name, said in _COLUMNS:
        found = story.measured.find(measure, name, ("other",))
        values = [found.get(key, {}).get((teacher,)) for key in own]
        if any(value is not None for value in values):
            columns.append((said, [fixed(value) if said.endswith("%") else short(value) for value in values]))
    names = [line.name for line in own.values()]
    lines = list(zip(names, *(cells for _, cells in columns), strict=True))
    return table(("student", *(said for said, _ in columns)), lines, caption=f"Beside {teacher}, test split")
