"""Results as files: the whole tree as Zarr, and tidy tables as CSV.

``statistics.zarr`` has a group a measure: ``xarray.open_datatree("statistics.zarr")["tau"]``. Variables of one measure
with the same dimensions are one table: ``MEASURE.csv`` of those that have none but teacher and split, and
``MEASURE_by_DIM_DIM.csv`` of the others. Columns are teacher, split, the dimensions' coordinates, the variables; a cell
is empty where there is nothing to say, and a row where all of them would be is left out. Counts by two classes leave
out rows of zeros too. What would have more than ``LARGEST_TABLE`` rows is in the Zarr store alone.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

__all__ = ["LARGEST_TABLE", "STORE_NAME", "tables_of", "write_tree"]

STORE_NAME = "statistics.zarr"

LARGEST_TABLE = 300_000
"""Rows of the longest table that is written."""

_WHOSE = ("teacher", "split")


def write_tree(tree: xr.DataTree, folder: Path) -> tuple[Path, ...]:
    """Write the Zarr store and the tables into a folder, which is made; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    place, aside = folder / STORE_NAME, folder / f"{STORE_NAME}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    tree.map_over_datasets(_with_strings).to_zarr(aside, mode="w", consolidated=False)
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)
    paths = [place]
    for name, group in tree.children.items():
        for table, columns, rows in tables_of(name, group.to_dataset()):
            paths.append(folder / f"{table}.csv")
            _write(paths[-1], columns, rows)
    return tuple(paths)


def _with_strings(dataset: xr.Dataset) -> xr.Dataset:
    """Names as strings of any length, which the Zarr v3 specification knows; it has none of fixed length."""
    names = {name: values.astype(object) for name, values in dataset.variables.items() if values.dtype.kind == "U"}
    return dataset.assign(names)


def tables_of(name: str, dataset: xr.Dataset) -> Iterator[tuple[str, tuple[str, ...], Sequence[Sequence[object]]]]:
    """Tables of a measure's dataset: name, columns, rows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for variable, values in dataset.data_vars.items():
        own = tuple(str(dim) for dim in values.dims if dim not in _WHOSE)
        groups.setdefault(own, []).append(str(variable))
    for own, variables in groups.items():
        dims = (*_WHOSE, *own)
        shape = tuple(dataset.sizes[dim] for dim in dims)
        if np.prod(shape, dtype=np.int64) > LARGEST_TABLE and not _is_sparse(dataset, variables):
            continue
        cells = [dataset[each].transpose(*dims).values.reshape(-1) for each in variables]
        kept = np.flatnonzero(_said(cells))
        if len(kept) <= LARGEST_TABLE:
            places = np.unravel_index(kept, shape)
            labels = [_labels(dataset, dim)[place] for dim, place in zip(dims, places, strict=True)]
            columns = [*labels, *(each[kept] for each in cells)]
            rows = list(zip(*(_cells(column) for column in columns), strict=True))
            yield "_by_".join(filter(None, (name, "_".join(own)))), (*dims, *variables), rows


def _is_sparse(dataset: xr.Dataset, variables: list[str]) -> bool:
    """Whether a table is of counts alone, most of which are 0."""
    return all(np.issubdtype(dataset[each].dtype, np.integer) for each in variables)


def _labels(dataset: xr.Dataset, dim: str) -> NDArray[Any]:
    """A dimension's coordinate, its numbers where it has none."""
    return dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])


def _said(columns: list[NDArray[Any]]) -> NDArray[np.bool_]:
    """Which rows have anything to say: a number that is not NaN, or where all are counts, one that is not 0."""
    counts = len(columns) == 1 and np.issubdtype(columns[0].dtype, np.integer) and len(columns[0]) > 1
    said = np.zeros(len(columns[0]), np.bool_)
    for column in columns:
        if np.issubdtype(column.dtype, np.floating):
            said |= ~np.isnan(column)
        else:
            said |= column != 0 if counts else True
    return said


def _cells(column: NDArray[Any]) -> list[object]:
    """Numbers that read back the same; NaN is an empty cell."""
    return ["" if value != value else value for value in column.tolist()]  # noqa: PLR0124 - only NaN differs from itself


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """One table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
