"""The page is whole, self-contained and escaped, says what the files say, and bears what is missing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from logitcache.errors import InputError
from logitcache.report import store_sections, write_report
from logitcache.report.sources import read_evidence
from logitcache.report.story import tell

VOID = {"meta", "img", "source"}


class Reader(HTMLParser):
    """Checks that tags match and gathers text and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.headings: list[str] = []
        self.text = ""
        self.data: list[str] = []
        """What stands in JSON for the figures."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [found[key] or "" for key in ("src", "srcset", "href") if key in found]
        self.anchors.add(found.get("id") or "")
        self.kind = found.get("type")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.data += [data] * (self.kind == "application/json")
            return
        self.text += data
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.mark.usefixtures("plain")
def test_the_page_says_what_the_files_say(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    text = read(write_report(make_directory(), info)).text.replace("\u00a0", " ")
    for said in (
        "fashion_mnist: one teacher, 38 students",
        "92.73 %",  # the teacher
        "× 2.89",  # online over hard labels
        "0.64 × float16",
        "confirmed",
        "one run each cannot tell",
        "none lies above its bound",
        "3f9c2a71b04de855",
        "Ankle boot",
        "1 not measured",
        "status is diverged",
        "(1 diverged)",
    ):
        assert said in text, said


def test_nothing_is_loaded_from_anywhere(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    page = write_report(make_directory(), info)
    reader = read(page)
    inside = [address for address in reader.addresses if address.startswith("#")]
    assert len(inside) == 9
    assert {address[1:] for address in inside} <= reader.anchors
    assert inside == reader.addresses
    own = page.read_text(encoding="utf-8").split("<script>")[0]
    assert not re.search(r"https?://|@import|url\(", own)
    assert page.stat().st_size < 3_000_000


def test_names_are_escaped(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    directory = make_directory()
    evil = '<b>&"x"'
    for path in (directory / "results.csv", *sorted((directory / "statistics").glob("*.csv"))):
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        names = {"3 % of the samples", "teacher", "KL τ=4", "Shirt"}
        changed = [[evil + cell if cell in names else cell for cell in line] for line in lines[1:]]
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([lines[0], *changed])
    info["dataset"]["name"] = evil
    page = write_report(directory, info)
    assert "<b>" not in page.read_text(encoding="utf-8").split("<script>")[0]
    reader = read(page)
    assert reader.text.count(evil) > 10
    assert any(evil in json.dumps(json.loads(data), ensure_ascii=False).replace('\\"', '"') for data in reader.data)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("missing", "headings"),
    [
        ("timing.json", {"Seconds per epoch"}),
        ("statistics", {"Teachers", "Students beside the teacher", "Classes that look alike"}),
        ("students", {"Training curves"}),
        ("results.csv", {"Accuracy of students by objective", "Training curves"}),
        ("info", {"The store", "Fidelity of the stored logits"}),
    ],
)
def test_what_is_missing_is_left_out(
    make_directory: Callable[[], Path], info: dict[str, Any] | None, missing: str, headings: set[str]
) -> None:
    directory = make_directory()
    before = read(write_report(directory, info)).headings
    if missing == "info":
        info = None
    elif (directory / missing).is_dir():
        shutil.rmtree(directory / missing)
    else:
        (directory / missing).unlink()
    reader = read(write_report(directory, info))
    assert set(before) - set(reader.headings) == headings
    assert "nan" not in reader.text.lower().split()


@pytest.mark.usefixtures("plain")
def test_a_kl_above_its_bound_is_said(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    found = info["splits"][1]["teachers"][0]["fidelity"] = dict(info["splits"][1]["teachers"][0]["fidelity"])
    found["kl_largest"] = [*found["kl_largest"][:4], 1.0]
    text = read(write_report(make_directory(), info)).text
    assert "ABOVE the bound for test/teacher at τ = 20." in text


@pytest.mark.usefixtures("plain")
def test_a_store_in_progress_is_said(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    info["splits"][0]["teachers"][0] |= {"committed": 0, "rows": 0, "fidelity": None}
    text = read(write_report(make_directory(), info)).text
    assert "train/teacher: 0 of 8 blocks are committed." in text


@pytest.mark.usefixtures("plain")
def test_an_empty_directory_and_a_broken_file_are_refused(make_directory: Callable[[], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither results\.csv nor store\.zarr"):
        write_report(tmp_path)
    directory = make_directory()
    metrics = next(directory.glob("students/*/metrics.jsonl"))
    metrics.write_text('{"epoch": 1}\n{"epoch"\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2 is not valid JSON"):
        write_report(directory)


@pytest.mark.usefixtures("plain")
def test_the_report_runs_twice_to_the_same_page(make_directory: Callable[[], Path], info: dict[str, Any]) -> None:
    directory = make_directory()
    first = write_report(directory, info).read_bytes()
    assert write_report(directory, json.loads(json.dumps(info))).read_bytes() == first


@pytest.mark.usefixtures("plain")
def test_of_many_teachers_those_nearest_their_bounds_are_drawn(info: dict[str, Any], make_directory: Any) -> None:
    first = info["splits"][0]["teachers"][0]
    shares = {"far": 0.2, "near": 0.9, "middle": 0.5, "half": 0.45, "exact": 0.0}
    info["splits"][0]["teachers"] = [
        {**first, "teacher": name} | {"fidelity": {**first["fidelity"], "kl_largest": largest}}
        for name, share in shares.items()
        for largest in [[share * bound for bound in first["fidelity"]["kl_bound"]]]
    ]
    story = tell(read_evidence(make_directory(), info))
    text = store_sections.fidelity(story)
    drawn = [name for name in story.charts if name.startswith("fidelity")]
    assert drawn == [f"fidelity-{name}" for name in ("train-near", "train-middle", "train-half", "test-teacher")]
    assert "Of 5, the 4 that come closest to their bounds." in text
    assert all(f'<td class="text">{name}' in text for name in shares), "the table has all"
