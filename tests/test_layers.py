"""Data flows down the list of layers, and imports point only up it, late and typing-only imports included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "logitcache"
LAYERS = (
    "errors",
    "address",
    "records",
    "keyed",
    "files",
    "threads",
    "memory",
    "factories",
    "cluster",
    "data",
    "models",
    "views",
    "teacher_options",
    "teacher",
    "store",
    "store_note",
    "planning",
    "formats",
    "transfer",
    "matching",
    "cache_job",
    "teacher_run",
    "calibrating",
    "caching",
    "recomputing",
    "repairing",
    "soft_targets",
    "student",
    "statistics",
    "sweep",
    "report",
    "study",
    "pipeline",
    "cli",
    "__main__",
)
# beyond the order: what a layer must not know although it stands further up
FORBIDDEN = {
    "store": {"data", "models", "views", "teacher"},
    "planning": {"data", "models", "views", "teacher"},
    "formats": {"data", "models", "views", "teacher"},
    "transfer": {"data", "models", "views", "teacher"},
    "soft_targets": {"models", "teacher", "teacher_run", "caching"},
    "student": {"models", "teacher", "teacher_run", "caching", "statistics"},
    "statistics": {"models", "views", "teacher", "teacher_run", "caching", "student"},
    "sweep": {"teacher", "teacher_run", "caching", "statistics"},
    "report": {"models", "views", "teacher", "caching", "soft_targets", "student", "statistics", "sweep"},
    "study": {"teacher", "teacher_run", "caching"},
}


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The package's own modules that a file imports anywhere in it: at its top, late, or for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; this test reads absolute ones"
            if node.module is not None and node.module.split(".")[0] == PACKAGE:
                for alias in node.names:
                    deeper = f"{node.module}.{alias.name}"
                    yield deeper if deeper in known else node.module


@pytest.fixture(scope="module")
def graph(repository) -> dict[str, set[str]]:
    """Module -> modules that it imports."""
    files = modules(repository)
    return {name: set(imported(path, set(files))) - {name} for name, path in files.items()}


def layer(module: str) -> str:
    """The layer of a module; the package itself is none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def layer_edges(graph) -> set[tuple[str, str]]:
    """(layer, layer that it imports), the package's own list of names left out."""
    edges = {(layer(module), layer(target)) for module, targets in graph.items() for target in targets if layer(module)}
    return {(above, below) for above, below in edges if above != below}


def cycles(graph) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan 1972), each of two or more."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            start = stack.index(module)
            group = stack[start:]
            del stack[start:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found


def test_the_walk_sees_the_whole_package(graph, repository):
    assert len(graph) > 20
    assert {layer(module) for module in graph} - {""} <= set(LAYERS), "a new layer needs its place in LAYERS"
    assert sum(map(len, graph.values())) > len(graph)
    assert "logitcache.keyed" in graph["logitcache.data.split"]


def test_every_import_names_a_module_that_exists(graph):
    missing = {(module, target) for module, targets in graph.items() for target in targets if target not in graph}
    assert missing == set()


def test_no_module_takes_part_in_a_cycle(graph):
    assert cycles(graph) == []


def test_no_layer_takes_part_in_a_cycle(graph):
    between: dict[str, set[str]] = {}
    for above, below in layer_edges(graph):
        between.setdefault(above, set()).add(below)
    assert cycles(between) == []


def test_imports_point_only_up_the_list(graph):
    place = {name: number for number, name in enumerate(LAYERS)}
    wrong = {(above, below) for above, below in layer_edges(graph) if below and place[below] > place[above]}
    assert wrong == set()


@pytest.mark.parametrize("name", FORBIDDEN)
def test_layers_do_not_know_what_they_must_not(graph, name):
    known = {below for above, below in layer_edges(graph) if above == name}
    assert known & FORBIDDEN[name] == set()


def test_no_layer_reads_its_names_from_the_package_itself(graph):
    assert {above for above, below in layer_edges(graph) if not below} <= {"cli"}


def test_the_search_for_cycles_finds_one():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}) == [["a", "b", "c"]]


def test_late_and_typing_only_imports_count(tmp_path):
    source = "if TYPE_CHECKING:\n    from logitcache import keyed\ndef f():\n    import logitcache.errors\n"
    path = tmp_path / "some.py"
    path.write_text(source)
    assert set(imported(path, {"logitcache.keyed"})) == {"logitcache.keyed", "logitcache.errors"}


KEPT_OUT = {
    "logitcache.student.training, logitcache.soft_targets, logitcache.statistics": ("teacher", "caching", "models"),
    "logitcache.sweep, logitcache.report": ("teacher", "caching"),
    "logitcache.store": ("teacher", "models", "views", "data"),
}
"""What must not be loaded by who imports these."""

LOAD_EACH = """
import os, sys
import bokeh.plotting, dask.array, pydantic, torch, torchvision, xarray, zarr  # what takes seconds, once
for names in sys.argv[1:]:
    sys.stdout.flush()
    if os.fork() == 0:
        exec("import " + names)
        print([name for name in sys.modules if name.startswith("logitcache.")], flush=True)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(1)
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The modules of the package that each import loads, by what is imported, each in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LOAD_EACH, *KEPT_OUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(KEPT_OUT, map(ast.literal_eval, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("names", KEPT_OUT)
def test_reading_a_store_loads_no_teacher(loaded, names):
    assert len(loaded[names]) > 5
    assert [name for name in loaded[names] if layer(name) in KEPT_OUT[names]] == []
