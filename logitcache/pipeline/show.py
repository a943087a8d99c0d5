"""Records as lines of text, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from logitcache.pipeline.shipped import shipped_recipes

__all__ = ["info_lines", "recipe_lines"]


def recipe_lines() -> list[str]:
    """Name and first comment line of every shipped recipe."""
    recipes = shipped_recipes()
    width = max(map(len, recipes), default=0)
    lines = []
    for name, path in recipes.items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        lines.append(f"{name:<{width}}  {first.lstrip('# ')}")
    return lines


def info_lines(info: Mapping[str, Any]) -> Iterator[str]:
    """What :func:`logitcache.store.store_info` found, for reading."""
    views = {key: value for key, value in info["views"].items() if key != "preprocess"}
    yield f"{info['path']}: format version {info['format_version']}"
    yield f"data set {info['dataset']['name']}, {info['classes']} classes; views {_pairs(views)}"
    for split in info["splits"]:
        yield f"split {split['split']}: {split['samples']:,} samples, fingerprint {split['fingerprint']}"
        for teacher in split["teachers"]:
            yield from _teacher_lines(teacher)


def _teacher_lines(teacher: Mapping[str, Any]) -> Iterator[str]:
    """One teacher in a split."""
    encoding = teacher["encoding"]
    yield (
        f"  teacher {teacher['teacher']}: {teacher['model']}, weights {teacher['weights']}, {teacher['precision']}, "
        f"{teacher['provenance']}"
    )
    step = f", step {encoding['step']:.6g}, KL <= {encoding['max_kl']:.3g} at tau >= {encoding['tau_min']:g}"
    yield f"    encoding {encoding['kind']} {encoding['dtype']}{step if encoding['kind'] == 'uniform' else ''}"
    blocks = f"{teacher['committed']} of {teacher['blocks']} blocks"
    yield f"    {teacher['views']} views, {blocks}, {teacher['rows']:,} rows"
    for array in teacher["arrays"]:
        yield f"    {array['name']}: {array['bytes']:,} bytes, {array['bytes_per_row']:.2f} a row"
    yield f"    float16 would take {teacher['float16_bytes_per_row']} bytes a row"
    if teacher["fidelity"]:
        yield from _fidelity_lines(teacher["fidelity"])


def _fidelity_lines(fidelity: Mapping[str, Any]) -> Iterator[str]:
    """Bound and measured error."""
    yield (
        f"    largest error {fidelity['largest_error']:.3g}, RMSE {fidelity['rmse']:.3g}, "
        f"top-1 kept {100 * fidelity['top1_kept']:.3f} %"
    )
    yield "    tau      KL largest   KL mean      bound"
    for row in zip(fidelity["taus"], fidelity["kl_largest"], fidelity["kl_mean"], fidelity["kl_bound"], strict=True):
        yield f"    {row[0]:<8g} {row[1]:<12.3e} {row[2]:<12.3e} {row[3]:.3e}"


def _pairs(record: Mapping[str, Any]) -> str:
    """A record on one line."""
    return ", ".join(f"{key} = {value}" for key, value in record.items())
