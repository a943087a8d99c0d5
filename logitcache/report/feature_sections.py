"""The section about the penultimate layer: samples on the plane of three classes and on principal components."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from logitcache.report.charts import Axis, Cloud, Points
from logitcache.report.markup import grid, note, paragraph, section, short, table
from logitcache.report.measured import Key, Values
from logitcache.report.networks import networks
from logitcache.report.story import Story
from logitcache.report.themes import MUTED
from logitcache.report.thumbnails import read_thumbnails

__all__ = ["penultimate"]

MOST = 6
"""Projections of a kind on the page: the test split before the train split, teachers before students."""

PICTURE_BYTES = 200_000
"""What the pictures of one projection may take, shared by its classes; points beyond have none."""

_COLLAPSE = (
    ("nc1", "NC1, within over between"),
    ("nc2_norms_means", "NC2, norms of means"),
    ("nc2_angles_means", "NC2, angles of means"),
    ("nc3", "NC3, self-duality"),
    ("nc4", "NC4, %"),
    ("feature_norm", "mean norm"),
)


def penultimate(story: Story) -> str:
    """Projections with the sample of each point, and the measures of neural collapse."""
    drawn = [*_clouds(story, "plane"), *_clouds(story, "penultimate")]
    if not drawn:
        return ""
    text = (
        "Features before the last layer: on the plane through the last layer's rows of three classes (Müller et al. "
        "2019), and on the first two principal components. The three are two that a network finds alike and one that "
        "it does not, unless they were named. Point at one to see its sample; a click on a class mutes it."
    )
    return section("Penultimate layer", paragraph(text), grid(drawn), *_collapse(story))


_PREFIX = {"plane": "plane", "penultimate": "pca"}
_AXES = {
    "plane": (Axis("along the first two templates, features"), Axis("towards the third, features")),
    "pca": (Axis("first principal component, features"), Axis("second principal component, features")),
}


def _clouds(story: Story, measure: str) -> list[str]:
    """The clouds of the first networks that a measure has."""
    prefix, drawn = _PREFIX[measure], []
    xs, ys = (story.measured.find(measure, f"{prefix}_{axis}", ("sample",)) for axis in "xy")
    for key, network in list(networks(story, xs).items())[:MOST]:
        chart = _cloud(story, key, prefix, xs[key], ys.get(key, {}))
        what = "principal components"
        if measure == "plane":
            what = f"plane of {', '.join(group.name for group in chart.groups)}"
        drawn.append(_figure(story, chart, prefix, key, f"{network.name}: {what}"))
    return drawn


def _cloud(story: Story, key: Key, kind: str, xs: Values, ys: Values) -> Cloud:
    """One network's samples on two coordinates."""
    return Cloud(*_AXES[kind], _groups(story, key, kind, xs, ys))


def _figure(story: Story, chart: Cloud, kind: str, key: Key, title: str) -> str:
    """A cloud of one network below its title."""
    return story.figure(chart, f"{kind} {key[0]} {key[1]}", title, f"Samples of {key[1]}, {title}.")


def _groups(story: Story, key: Key, prefix: str, xs: Values, ys: Values) -> tuple[Points, ...]:
    """The points by true class, in the order of the classes."""
    measure = "plane" if prefix == "plane" else "penultimate"
    names = story.class_names("penultimate", "feature_class_rows", key)
    columns = {
        name: story.measured.find(measure, f"{prefix}_{name}", ("sample",)).get(key, {})
        for name in ("row", "index", "class", "predicted")
    }
    known = [sample for sample in xs if sample in ys]
    classes = sorted({int(columns["class"].get(sample, -1)) for sample in known})
    pictures = read_thumbnails(story.evidence.directory)
    result = []
    for number in classes:
        own = [sample for sample in known if int(columns["class"].get(sample, -1)) == number]
        index = [int(_index(columns, sample)) for sample in own]
        said = [int(columns["predicted"].get(sample, -1)) for sample in own]
        shown = [pictures.get((key[1], one), "") for one in index]
        result.append(
            Points(
                _name(names, number),
                tuple(xs[sample] for sample in own),
                tuple(ys[sample] for sample in own),
                MUTED if number < 0 else number,
                tuple(f"sample {one}, says {_name(names, other)}" for one, other in zip(index, said, strict=True)),
                _affordable(shown, PICTURE_BYTES // len(classes)),
            )
        )
    return tuple(result)


def _affordable(pictures: Sequence[str], most: int) -> tuple[str, ...]:
    """The pictures as far as their bytes go, '' after that; none at all where there are none."""
    spent = list(itertools.accumulate(map(len, pictures)))
    return (
        tuple(one if upto <= most else "" for one, upto in zip(pictures, spent, strict=True)) if any(pictures) else ()
    )


def _index(columns: Mapping[str, Values], sample: tuple[str, ...]) -> float:
    """The sample's index in the full data set, its row where nobody knows it."""
    index = columns["index"].get(sample, -1)
    return index if index >= 0 else columns["row"].get(sample, -1)


def _name(names: Sequence[str], number: int) -> str:
    """The name of a class by its number."""
    return names[number] if 0 <= number < len(names) else "class unknown" if number < 0 else f"class {number}"


def _collapse(story: Story) -> list[str]:
    """The measures of neural collapse by network and split."""
    columns = [story.measured.one("penultimate", name) for name, _ in _COLLAPSE]
    found = {key: column for column in columns for key in column}
    lines = [
        (line.name, key[1], *(short(column.get(key)) for column in columns))
        for key, line in networks(story, found).items()
    ]
    text = "Neural collapse as of Papyan, Han and Donoho 2020: all but the norm are 0 where it is complete."
    return [table(("network", "split", *(name for _, name in _COLLAPSE)), lines, texts=2), note(text)] if lines else []
