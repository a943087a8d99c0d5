"""The sections about distributions: soft targets at each temperature, and histograms of logits."""

from __future__ import annotations

from logitcache.report.charts import Axis, Lines, Series
from logitcache.report.markup import fixed, grid, note, paragraph, section, short, table
from logitcache.report.measured import Values
from logitcache.report.networks import Network, networks
from logitcache.report.story import Story
from logitcache.report.themes import MUTED

__all__ = ["histograms", "temperatures"]

_BY_TAU = (
    ("entropy", "entropy, nats"),
    ("confidence", "mean largest probability"),
    ("ece", "expected calibration error"),
    ("nll", "NLL of the true class, nats"),
)

FEW = 10
"""Rows below which a bin of confidence is not drawn."""

_OF_LOGITS = (("all", "logit", "All logits"), ("margin", "true class above the largest other, logits", "Margins"))


def temperatures(story: Story) -> str:
    """Entropy, confidence, calibration and NLL by temperature, and the reliability curve at τ = 1."""
    drawn = []
    for variable, label in _BY_TAU:
        found = story.measured.find("tau", variable, ("tau",))
        series = [_by_tau(line, found[key]) for key, line in networks(story, found).items()]
        if series:
            taus = tuple(sorted({tau for one in series for tau in one.x}))
            chart = Lines(Axis("temperature τ", log=True, ticks=_apart(taus)), Axis(label), tuple(series))
            drawn.append(
                story.figure(chart, f"tau {variable}", label[0].upper() + label[1:], f"{label} by temperature.")
            )
    if not drawn:
        return ""
    text = (
        "Softmax of the logits over τ, clean view. Calibration error in 15 bins of equal width (Guo et al. 2017); bins "
        f"with fewer than {FEW} rows are not drawn. "
        "Students are the first seed of the best row of each objective. Dashed lines are the train split."
    )
    return section("Soft targets by temperature", note(text), grid([*drawn, *_reliability(story)]), *_best(story))


def _by_tau(line: Network, values: Values) -> Series:
    """One network's line over temperatures."""
    points = sorted((float(tau), value) for (tau,), value in values.items())
    xs, ys = tuple(tau for tau, _ in points), tuple(value for _, value in points)
    return Series(line.name, xs, ys, line.colour, dashed=line.dashed, marks=True)


def _apart(taus: tuple[float, ...]) -> tuple[float, ...]:
    """Temperatures to be marked on a logarithmic axis: those that lie a factor of 1.4 apart."""
    kept: list[float] = []
    for tau in taus:
        if not kept or tau >= 1.4 * kept[-1]:
            kept.append(tau)
    return tuple(kept)


def _reliability(story: Story) -> list[str]:
    """Accuracy by confidence at the temperature nearest to 1, beside the diagonal."""
    sure, right, rows = (
        story.measured.find("tau", f"bin_{name}", ("tau", "bin")) for name in ("confidence", "accuracy", "count")
    )
    taus = sorted({tau for values in sure.values() for tau, _ in values}, key=lambda tau: abs(float(tau) - 1))
    series = [Series("calibrated", (0.0, 1.0), (0.0, 1.0), MUTED, dashed=True)]
    for key, line in networks(story, sure).items():
        places = [place for place in sure[key] if place[0] == taus[0] and rows[key].get(place, 0) >= FEW]
        points = sorted((sure[key][place], right[key][place]) for place in places)
        xs, ys = tuple(x for x, _ in points), tuple(y for _, y in points)
        series.append(Series(line.name, xs, ys, line.colour, dashed=line.dashed, marks=True))
    if len(series) == 1:
        return []
    chart = Lines(Axis("mean confidence in a bin"), Axis("share of right answers"), tuple(series))
    title = f"Reliability at τ = {float(taus[0]):g}"
    return [story.figure(chart, "reliability", title, "Accuracy by confidence beside the diagonal.")]


def _best(story: Story) -> list[str]:
    """The temperature of the smallest NLL of each network."""
    tau, inside = story.measured.one("tau", "best_tau"), story.measured.one("tau", "best_tau_inside")
    nll = story.measured.one("tau", "best_nll")
    lines = []
    for key, line in networks(story, tau).items():
        edge = "" if inside.get(key, 1.0) else " (an end of the list; the best may lie beyond)"
        lines.append((line.name, key[1], f"{fixed(tau[key])}{edge}", short(nll.get(key))))
    head = ("network", "split", "τ of the smallest NLL", "NLL there, nats")
    return [paragraph("Which temperature calibrates best:"), table(head, lines, texts=2)] if lines else []


def histograms(story: Story) -> str:
    """Densities of logits and margins, teachers and students on one axis."""
    drawn = []
    for name, label, title in _OF_LOGITS:
        density, left, right = (
            story.measured.find("histogram", f"{name}_{part}", ("bin",)) for part in ("density", "left", "right")
        )
        series = [
            _stairs(line, density[key], left.get(key, {}), right.get(key, {}))
            for key, line in networks(story, density).items()
            if "test" not in {split for _, split in density} or key[1] == "test"
        ]
        if series:
            chart = Lines(Axis(label), Axis("density, 1 / logits"), tuple(series))
            drawn.append(story.figure(chart, f"histogram {name}", title, f"Histogram of {label}."))
    text = "Share of the numbers in a bin over the bin's width; bins are as wide as each network's range asks for."
    return section("Logits of teachers and students", grid(drawn), note(text)) if drawn else ""


def _stairs(line: Network, density: Values, left: Values, right: Values) -> Series:
    """A histogram's outline, without the empty bins at its ends."""
    bins = [place for place in density if place in left and place in right]
    full = [k for k, place in enumerate(bins) if density[place] > 0]
    kept = bins[full[0] : full[-1] + 1] if full else []
    xs = [edge for place in kept for edge in (left[place], right[place])]
    ys = [round(density[place], 6) for place in kept for _ in range(2)]
    ends = ([xs[0], *xs, xs[-1]], [0.0, *ys, 0.0]) if kept else ([], [])
    return Series(line.name, tuple(ends[0]), tuple(ends[1]), line.colour, dashed=line.dashed)
