"""The study step: claims, tables and figures from the results of a recipe's variants, and the page of all recipes."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from logitcache.errors import InputError
from logitcache.files import write_text
from logitcache.pipeline.context import RunContext
from logitcache.pipeline.extending import read_extended
from logitcache.pipeline.recipe import read_recipes, shipped_recipes
from logitcache.records import fingerprint, sha256
from logitcache.study.claims import write_claims
from logitcache.study.collect import FACTS_FILE, RUNS_FILE, read_collected
from logitcache.study.columns import number
from logitcache.study.curves import CURVES_FILE, make_curves, write_curves
from logitcache.study.facts import FACTS, runs_facts, teacher_entry
from logitcache.study.options import StudyOptions
from logitcache.study.page import write_page
from logitcache.study.penultimate import PenultimateResult, PenultimateSources, choose_panels, measure_penultimate
from logitcache.study.points import POINTS_FILE, write_points
from logitcache.study.runs import merge_results, read_table, write_table
from logitcache.study.section import Experiment, draw_figures, section_text
from logitcache.study.tables import write_rows

__all__ = ["make_page", "make_study", "study_folder"]

_STEP = "study"


def study_folder(contexts: Sequence[RunContext]) -> Path:
    """Where the study of a recipe's variants goes: into their common folder, of one run into its own."""
    return (contexts[0].out if len(contexts) == 1 else contexts[0].top) / "study"


def make_study(contexts: Sequence[RunContext]) -> None:
    """Answer what the recipe asks, from the results of all its variants together; nothing without a table [study].

    Raises:
        InputError: a variant has no results yet.
    """
    options, folder = contexts[0].recipe.study, study_folder(contexts)
    if options is None or not contexts[0].recipe.students:
        return
    results = {context.recipe.variant or "": context.out / "results.csv" for context in contexts}
    for path in results.values():
        if not path.is_file():
            raise InputError(f"{path} does not exist; train the recipe's students first, by run or distill")
    screen, top = contexts[0].screen, replace(contexts[0], out=folder.parent)
    inputs = _inputs(options, contexts)
    if (folder / "study.md").exists() and top.was_done(_STEP, inputs):
        screen.say(f"study: {folder / 'study.md'}")
        return
    with screen.step("study"):
        experiment = _experiment(options, contexts, results, folder)
        _write(experiment, folder)
    top.mark_done(_STEP, inputs)
    for verdict in experiment.verdicts:
        screen.say(f"  {verdict.sentence}")
    screen.say(f"  {folder / 'study.md'}")


def make_page(results: Path, path: Path) -> Path:
    """Write the page of collected results, with the studies of the recipes that come with logitcache.

    Raises:
        InputError: there are no results, or an experiment's recipe is not among them.
    """
    names = {str(read_extended(file).get("name", file.stem)): file for file in shipped_recipes().values()}

    def study_of(recipe: str, profile: str) -> StudyOptions | None:
        if recipe not in names:
            return None
        return read_recipes(names[recipe], [f"profile={profile}"] if profile else [])[0].study

    return write_page(read_collected(results, study_of), path)


def _experiment(
    options: StudyOptions, contexts: Sequence[RunContext], results: Mapping[str, Path], folder: Path
) -> Experiment:
    """The study's runs and facts, written into its folder on the way."""
    found = {context.recipe.variant or "": _penultimate(options, context) for context in contexts}
    measured = {variant: result for variant, result in found.items() if result is not None}
    runs = merge_results(results, {variant: result.columns for variant, result in measured.items()})
    facts = _facts(contexts) | runs_facts(runs)
    facts["data"] = options.data or facts["data"]
    facts["teacher_measures"] = ";".join(
        f"{variant} {name}:{value:.6g}".strip()
        for variant, result in measured.items()
        for name, value in result.teacher.items()
    )
    points = [point for result in measured.values() for point in result.points]
    write_table(folder / RUNS_FILE, runs)
    write_table(folder / FACTS_FILE, [facts], FACTS)
    students = {context.recipe.variant or "": context.out / "students" for context in contexts}
    curves = make_curves(options.figures, runs, students)
    for file in (POINTS_FILE, CURVES_FILE):
        (folder / file).unlink(missing_ok=True)  # of a study that had some
    if points:
        write_points(folder / POINTS_FILE, points)
    if curves:
        write_curves(folder / CURVES_FILE, curves)
    return Experiment(options, runs, facts, points, curves)


def _write(experiment: Experiment, folder: Path) -> None:
    """Tables, figures and text of a study."""
    write_rows(experiment.options, experiment.rows, folder / "table.csv")
    write_claims(experiment.verdicts, folder / "claims.csv")
    for old in folder.glob("figure-*"):
        old.unlink()
    figures = draw_figures(experiment, folder, lambda part: f"figure-{part}")
    asks = f"{experiment.options.asks}\n\n" if experiment.options.asks else ""
    text = f"# {experiment.options.title}\n\n{asks}{section_text(experiment, figures)}"
    write_text(folder / "study.md", text)


def _penultimate(options: StudyOptions, context: RunContext) -> PenultimateResult | None:
    """What is measured of the penultimate layers of one variant's networks; None where it is not asked for."""
    chosen = options.penultimate
    if chosen is None:
        return None
    if chosen.split not in context.splits:
        raise InputError(f"study.penultimate.split = {chosen.split!r}: the data set has no such split")
    variant = context.recipe.variant
    runs = read_table(context.out / "results.csv", needed=("run_id", "status", "label", "seed"))
    panels = choose_panels(chosen, options.rows, runs)
    before = f"{variant}: " if variant else ""
    sources = PenultimateSources(
        store=context.store_path,
        teacher=chosen.teacher or context.recipe.teachers[0].name,
        split=context.splits[chosen.split],
        runs={run["run_id"]: context.out / "students" / run["run_id"] for run in runs if run["status"] == "done"},
        panels={run_id: f"{before}{panel}" for run_id, panel in panels.items()},
        device=str(context.device),
        workers=context.recipe.cache.workers,
        teacher_panel=f"{before}teacher",
    )
    return measure_penultimate(chosen, sources)


def _facts(contexts: Sequence[RunContext]) -> dict[str, str]:
    """What ran, on what data, on what machine."""
    context = contexts[0]
    recipe, train = context.recipe, context.splits["train"]
    test = context.splits.get("test")
    return {
        "experiment": recipe.run_name,
        "recipe": recipe.name,
        "profile": recipe.profile or "",
        "data": recipe.data.name,
        "train_samples": str(len(train)),
        "test_samples": "" if test is None else str(len(test)),
        "classes": str(len(train.classes)),
        "shape": "x".join(map(str, train.shape)),
        "teachers": ";".join(dict.fromkeys(entry for each in contexts for entry in _teachers(each))),
        "device": context.device.type,
        "hardware": _hardware(context.device),
        "torch": torch.__version__,
        "logitcache": version("logitcache"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _teachers(context: RunContext) -> list[str]:
    """The teachers of one variant as facts write them, with what statistics measured on the test split."""
    path = context.out / "statistics" / "teachers.csv"
    lines = read_table(path) if path.is_file() else ()
    accuracies = {line["teacher"]: number(line["accuracy"]) for line in lines if line.get("split") == "test"}
    variant = context.recipe.variant or ""
    return [
        teacher_entry(teacher.name, variant, teacher.model, accuracies.get(teacher.name))
        for teacher in context.recipe.teachers
    ]


def _hardware(device: torch.device) -> str:
    """The GPU's name, or the processor's and how many cores there are."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or 'processor'])[0]}, {os.cpu_count()} cores"


def _inputs(options: StudyOptions, contexts: Sequence[RunContext]) -> str:
    """The fingerprint of everything that a study is made from."""
    files = ("results.csv", "statistics/teachers.csv")
    found = [context.out / name for context in contexts for name in files]
    digests = [sha256(path.read_bytes()) if path.is_file() else "" for path in found]
    return fingerprint({"options": repr(options), "files": digests})
