"""One self-contained page from a run directory: ``write_report`` reads, tells and writes; nothing is computed twice.

``sources`` reads result files, ``tables`` makes rows and the computed sentence, ``story`` joins them, ``sections``
and ``store_sections`` tell its parts, ``interactive`` draws with Bokeh and ``figures`` with matplotlib what
``charts`` describes, ``embedding`` puts it into the page, ``markup`` escapes. The page loads nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from logitcache.errors import RemoteError
from logitcache.report import feature_sections, label_sections, pair_sections, sections, store_sections, tau_sections
from logitcache.report.embedding import scripts
from logitcache.report.explorer import explorer_section
from logitcache.report.markup import bytes_text, grid, tile
from logitcache.report.sources import read_evidence
from logitcache.report.story import Story, cached, tell
from logitcache.report.tables import Comparison, write_summary
from logitcache.store import open_store, store_info
from logitcache.store.backend import is_store
from logitcache.store_note import of_teachers, read_note

__all__ = ["render", "write_report"]

MARKS = {"confirmed": "✓", "contradicted": "✗", "within noise": "≈", "undecided": "?"}

WORDS = (
    ("row", "One setting of a student (objective, views, samples, ...) with all its seeds."),
    ("accuracy", "Top-1 on the test split, clean view, after the last epoch, in percent."),
    ("best epoch", "Mean over seeds of each run's best epoch. It is chosen on the test split itself, so it flatters."),
    ("std. dev., std. error", "Over seeds, with n − 1; the standard error is that of the mean."),
    ("hard labels", "Cross entropy (CE) with the true classes, with or without label smoothing; no teacher."),
    ("confirmed", "The best distilled row is better than the best row of hard labels, paired t-test, p < 0.05."),
    ("contradicted", "It is worse, p < 0.05."),
    ("within noise", "The seeds cannot tell them apart."),
    ("undecided", "Too few shared seeds for a test, or no spread between them."),
    ("KL", "Mean of KL(teacher || student) over the test split, or of KL(teacher || stored) over rows, in nats."),
    ("τ", "Temperature: logits are divided by it before the softmax."),
)


def write_report(directory: Path, info: Mapping[str, Any] | None = None, *, figures: bool = False) -> Path:
    """Write ``report.html`` and ``summary.csv`` into a run directory; returns the page.

    Args:
        directory: what a recipe's run left (see ``sources``).
        info: what the store says about itself; read by default from the store that the run shares with others, of
            which only the run's teachers count, or from ``directory/store.zarr``, where there is one.
        figures: write the page's figures too, as ``figures/*.png`` and ``figures/*.svg``.

    Raises:
        InputError: there is nothing to report on, or a file is not what it should be.
    """
    story = tell(read_evidence(directory, _store_info(directory) if info is None else info))
    if story.rows:
        write_summary(story.rows, directory / "summary.csv")
    page = directory / "report.html"
    page.write_text(render(story), encoding="utf-8")
    if figures:
        _draw_again(story)
    return page


def _draw_again(story: Story) -> None:
    """The page's figures for papers; matplotlib is loaded for them alone."""
    from logitcache.report import figures

    for name, chart in story.charts.items():
        figures.save(chart, story.evidence.directory / "figures", name)


def _store_info(directory: Path) -> Mapping[str, Any] | None:
    """What the run's store says about itself; None where there is no store."""
    note, own = read_note(directory), directory / "store.zarr"
    if note is not None:
        with suppress(RemoteError):  # a page is made where nobody reaches the store, too
            if is_store(note.store):
                return of_teachers(store_info(open_store(note.store)), note.teachers)
    return store_info(open_store(own)) if own.exists() else None


def render(story: Story) -> str:
    """The whole page as HTML; ``story.charts`` has its figures afterwards."""
    explorer = explorer_section(story.evidence.directory)
    told = {
        "Soft targets": explorer,
        "Accuracy": sections.accuracy(story),
        "τ and α": sections.sweep(story),
        "Training curves": sections.curves(story),
        "Students and teacher": sections.closeness(story),
        "Differences": pair_sections.differences(story),
        "Temperature": tau_sections.temperatures(story),
        "Logits": tau_sections.histograms(story),
        "Penultimate layer": feature_sections.penultimate(story),
        "Classes": label_sections.similarity(story),
        "Labels": label_sections.suspects(story),
        "Teachers": store_sections.teachers(story),
        "Store": store_sections.size(story),
        "Fidelity": store_sections.fidelity(story),
        "Seconds": sections.seconds(story),
        "Words": _words(),
    }
    sheets = ("page.css", "explorer.css") if explorer else ("page.css",)
    style = "".join(files("logitcache.report").joinpath(name).read_text(encoding="utf-8") for name in sheets)
    title = _title(story)
    parts = [f'<div id="part-{count}">{html}</div>' for count, html in enumerate(told.values()) if html]
    links = [f'<a href="#part-{count}">{name}</a>' for count, (name, html) in enumerate(told.items()) if html]
    shown = scripts(widgets=bool(explorer)) if explorer or story.charts else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>"
        f"<header>{_headline(story, title)}<nav>{''.join(links)}</nav></header>{''.join(parts)}{_footer()}"
        f"</main>{shown}</body></html>\n"
    )


def _title(story: Story) -> str:
    """What was done, in a line."""
    data = str((story.evidence.info or {}).get("dataset", {}).get("name", ""))
    names = dict.fromkeys(part.teacher for part in cached(story.evidence))
    teachers = {0: "", 1: "one teacher"}.get(len(names), f"{len(names)} teachers")
    students = {0: "", 1: "one student"}.get(story.runs_done, f"{story.runs_done} students")
    done = ", ".join(part for part in (teachers, students) if part) or "no finished run yet"
    return f"{data}: {done}" if data else done.capitalize()


def _headline(story: Story, title: str) -> str:
    """The title, the figures worth seeing first, and the computed sentences."""
    kicker = f'<p class="kicker">logitcache report of {escape(story.evidence.directory.resolve().name)}</p>'
    findings = "".join(_finding(one) for one in story.comparisons.values())
    return f"{kicker}<h1>{escape(title)}</h1>{grid(_tiles(story), 'tiles')}{findings}"


def _finding(comparison: Comparison) -> str:
    """A group's computed sentence with its verdict."""
    verdict = comparison.verdict
    text = escape(comparison.sentence.replace(" %", "\u00a0%"))
    return (
        f'<div class="finding {verdict.replace(" ", "-")}"><span class="badge">{MARKS[verdict]} {verdict}</span>'
        f'<span class="group">{escape(comparison.group)}</span><p>{text}</p></div>'
    )


def _tiles(story: Story) -> list[str]:
    """Teacher, students, store and seconds, as far as they are known."""
    return [*_teacher_tile(story), *_student_tile(story), *_store_tile(story), *_seconds_tile(story)]


def _teacher_tile(story: Story) -> list[str]:
    """The best teacher's test accuracy."""
    measured = story.test_accuracy()
    if not measured:
        return []
    best = max(measured, key=lambda name: measured[name])
    models = {part.teacher: str(part.record["model"]) for part in cached(story.evidence)}
    remark = f"test accuracy of {best} ({models.get(best, 'unknown network')})"
    return [tile("Teacher" if len(measured) == 1 else "Best teacher", f"{measured[best]:.2f} %", remark)]


def _student_tile(story: Story) -> list[str]:
    """The best row's accuracy in each group, at most two of them."""
    tiles = []
    for group, rows in story.groups.items():
        best, comparison = rows[0], story.comparisons.get(group)
        beside = comparison and (comparison.distilled if best.hard else comparison.baseline)
        other = f"; best {'distilled' if best.hard else 'hard labels'} {beside.mean:.2f} %" if beside else ""
        if best.n:
            name = f"Best students, {group}" if len(story.groups) > 1 else "Best students"
            tiles.append(tile(name, f"{best.mean:.2f} %", f"{best.name}{other}"))
    return tiles[:2]


def _store_tile(story: Story) -> list[str]:
    """Bytes of the store beside float16."""
    parts = cached(story.evidence)
    if not parts:
        return []
    stored = sum(part.logit_bytes for part in parts)
    whole = sum(float(part.record["float16_bytes_per_row"]) * int(part.record["rows"]) for part in parts)
    rows = sum(int(part.record["rows"]) for part in parts)
    remark = f"{rows:,} rows of logits, {stored / max(whole, 1):.2f} × float16"
    return [tile("Store", bytes_text(stored), remark)]


def _seconds_tile(story: Story) -> list[str]:
    """What a step from the cache costs beside hard labels."""
    found = (story.evidence.timing or {}).get("seconds_per_epoch", {})
    names = ("hard labels", "cached soft targets", "online teacher")
    if any(name not in found for name in names):
        return []
    hard, cache, online = (float(found[name]) for name in names)
    return [
        tile("Cached epoch", f"× {cache / hard:.2f}", f"of hard labels; a teacher in every step × {online / hard:.2f}")
    ]


def _words() -> str:
    """What the page's words mean."""
    pairs = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS)
    return f"<section><h2>Words</h2><dl>{pairs}</dl></section>"


def _footer() -> str:
    """Where the numbers come from."""
    return (
        "<footer>Every number on this page comes from the files of this run: results.csv, timing.json, "
        "students/*/metrics.jsonl, statistics/*.csv and the store. Rows are in summary.csv; "
        "<code>logitcache report --figures</code> writes the figures as PNG and SVG.</footer>"
    )
