"""The page and the live explorer in a real browser: no errors, softmax at any temperature, hover, phones, dark pages.

One chromium serves all tests, with a page of its own for each; screenshots go to pytest's temporary folder.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import Plan
from PIL import Image

from logitcache.report import samples, write_report
from logitcache.report.embedding import scripts
from logitcache.report.explorer import explorer_section
from logitcache.report.explorer_live import Shown
from logitcache.report.explorer_marks import START, temperature
from logitcache.report.explorer_server import make_server
from logitcache.report.samples import Source
from logitcache.report.thumbnails import thumbnail, write_thumbnails
from logitcache.store import open_store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to drive: apt-get install chromium")

NAMES = ("teacher", "cnn-4, CE", "cnn-4, KL τ=4")
CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress")
SHOWN = "document.documentElement.dataset.figures === 'shown'"
MODEL = "Bokeh.documents.at(-1).get_model_by_name"
SOURCE = f"{MODEL}('explorer-bars').data_source.data"
FILLED = f"Bokeh.documents.length > 0 && {MODEL}('explorer-bars') != null && {SOURCE}.p.length > 0"
BARS = f"""() => ['explorer-bars', 'explorer-mark-0', 'explorer-mark-1'].flatMap((name) => {{
  const glyph = {MODEL}(name);
  return glyph == null || glyph.data_source.data.p.length === 0 ? [] : [[...glyph.data_source.data.p]];
}})"""
AXES = """() => Bokeh.documents.flatMap((one) => [...one._all_models.values()])
  .filter((model) => model.type.endsWith('Axis')).map((axis) => axis.axis_label)"""

MIDDLE = f"""(k) => {{
  const figure = (view) => (view.frame != null ? view : [...view.children()].map(figure).find(Boolean));
  const view = [...Bokeh.index].map(figure).find(Boolean);
  view.el.scrollIntoView({{block: 'center'}});
  const {{x, y}} = view.canvas.el.getBoundingClientRect();
  const {{p, place}} = {SOURCE};
  return [x + view.frame.x_scale.compute(0.3 * p[k]), y + view.frame.y_scale.compute(place[k])];
}}"""


def softmax(logits: np.ndarray, tau: float) -> np.ndarray:
    scaled = logits.astype(np.float64) / tau
    e = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # its sandbox needs what containers do not give; only our own files are opened
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Any]]:
    """Opens an address; the test fails where the page says an error or asks for anything else than it may."""
    contexts, faults = [], []

    def go(address: str, width: int = 1280, scheme: str = "light") -> Any:
        host = address.split("/")[2]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("console", lambda said: faults.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if _allowed(asked.url, host) else faults.append(asked.url))
        contexts.append(context)
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
    assert faults == []


def _allowed(url: str, host: str) -> bool:
    """What a page may ask for: itself, what it holds, and the server that it comes from."""
    return url.startswith(("file:", "data:", "blob:")) or (bool(host) and url.split("/")[2] == host)


CHOSEN = samples.Samples(
    "test",
    CLASSES,
    NAMES,
    1,
    tuple(samples.Sample(k, 7 * k, k, kind) for k, kind in enumerate(("contradicting", "hard", "typical"))),
    np.random.default_rng(0).normal(0, 3, (3, len(NAMES), len(CLASSES))).astype(np.float32),
)


def fill(directory: Path) -> None:
    """Samples and thumbnails, as the pipeline writes them."""
    samples.write_samples(directory, CHOSEN)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 1, 12, 12), dtype=np.uint8)
    write_thumbnails(directory, {("test", 7 * k): thumbnail(one) for k, one in enumerate(pixels)})


@pytest.fixture(scope="module")
def explorer_page(tmp_path_factory) -> str:
    """The address of a page with the explorer alone."""
    folder = tmp_path_factory.mktemp("explorer")
    fill(folder)
    return write_page(folder)


def write_page(folder: Path) -> str:
    """The address of a page with the explorer of a folder's samples."""
    style = "".join(files("logitcache.report").joinpath(f"{name}.css").read_text() for name in ("page", "explorer"))
    head = f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style>'
    html = (
        f"<!doctype html><html><head><meta charset='utf-8'>{head}</head><body><main>{explorer_section(folder)}</main>"
    )
    (folder / "page.html").write_text(f"{html}{scripts(widgets=True)}</body></html>", encoding="utf-8")
    return (folder / "page.html").as_uri()


def at(page: Any) -> float:
    """The temperature that the slider stands at."""
    return temperature(float(page.evaluate(f"{MODEL}('explorer-tau').value")))


def test_moving_the_slider_changes_the_bars_to_softmax(visit, explorer_page):
    page = visit(explorer_page)
    page.wait_for_function(FILLED)
    assert at(page) == START
    np.testing.assert_allclose(page.evaluate(BARS), softmax(CHOSEN.logits[0], START), rtol=1e-12)
    handle = page.locator(".noUi-handle")
    seen = []
    for key, times in (("ArrowRight", 30), ("End", 1), ("Home", 1), ("ArrowRight", 1)):
        handle.focus()
        for _ in range(times):
            page.keyboard.press(key)
        seen.append(at(page))
        np.testing.assert_allclose(page.evaluate(BARS), softmax(CHOSEN.logits[0], seen[-1]), rtol=1e-12)
        page.get_by_text(f"at τ = {seen[-1]:.3g}", exact=True).wait_for()
    assert seen == pytest.approx([8, 50, 0.1, 10**-0.99])
    box = page.locator(".noUi-target").bounding_box()
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    assert at(page) == pytest.approx(10 ** (-1 + 0.8 * 2.7), rel=0.05)
    page.wait_for_function(f"{SOURCE}.p[0] > 0.1")
    np.testing.assert_allclose(page.evaluate(BARS), softmax(CHOSEN.logits[0], at(page)), rtol=1e-12)


def test_a_click_shows_another_sample_with_its_label(visit, explorer_page):
    page = visit(explorer_page)
    page.wait_for_function(FILLED)
    pick = page.locator(".pick").nth(2)
    pick.click()
    np.testing.assert_allclose(page.evaluate(BARS), softmax(CHOSEN.logits[2], START), rtol=1e-12)
    assert pick.get_attribute("aria-pressed") == "true"
    assert page.locator(".pick[aria-pressed=true]").count() == 1
    assert page.evaluate(f"{MODEL}('explorer-label').data_source.data.place") == ["Pullover"]
    card = page.locator(".card")
    said = CLASSES[int(CHOSEN.logits[2, 0].argmax())]
    assert f"Sample 14, labelled Pullover; teacher says {said}" in card.inner_text()
    assert card.locator("img").evaluate("(image) => image.naturalWidth") == 12
    row = page.locator("tbody tr").nth(1).inner_text().split("\t")
    p, q = softmax(CHOSEN.logits[2], START)[:2]
    assert float(row[3]) == pytest.approx(-(q * np.log(q)).sum(), abs=6e-4)
    assert float(row[4]) == pytest.approx((p * np.log(p / q)).sum(), abs=6e-4)


def test_of_many_classes_the_largest_and_the_label_have_bars(visit, tmp_path):
    classes = ("crane", "crane", *(f"<{k}>" for k in range(38)))
    logits = np.random.default_rng(2).normal(0, 2, (1, 1, 40)).astype(np.float32)
    label = int(logits.argmin())
    samples.write_samples(
        tmp_path, samples.Samples("test", classes, ("big",), 1, (samples.Sample(0, 0, label, "hard"),), logits)
    )
    page = visit(write_page(tmp_path))
    page.wait_for_function(FILLED)
    places, shown = page.evaluate(f"[{SOURCE}.place, [...{SOURCE}.p]]")
    order = np.argsort(-logits[0, 0])[:11].tolist()
    names = [*(f"crane ({k})" for k in range(2)), *classes[2:]]
    assert places == [*(names[k] for k in [*order, label]), "all others"]
    p = softmax(logits[0, 0], START)
    np.testing.assert_allclose(shown[:-1], p[[*order, label]], rtol=1e-12)
    assert sum(shown) == pytest.approx(1)


def test_hover_tells_class_probability_and_logit(visit, explorer_page):
    page = visit(explorer_page)
    page.wait_for_function(FILLED)
    page.wait_for_timeout(300)  # the axis takes its new range with the next frame
    k = int(CHOSEN.logits[0, 0].argmax())
    page.mouse.move(*page.evaluate(MIDDLE, k))
    tip = page.locator(".bk-Tooltip", has_text="probability")
    tip.wait_for()
    said = CLASSES[k], f"{softmax(CHOSEN.logits[0], START)[0, k]:.4f}", f"{CHOSEN.logits[0, 0, k]:.2f}"
    assert [tip.get_by_text(text, exact=True).count() for text in said] == [1, 1, 1]


def test_the_whole_page_is_readable(visit, make_directory, info):
    """At the width of a desk and of a phone, in light and dark, which the reader may change at any time."""
    directory = make_directory()
    fill(directory)
    path = write_report(directory, info)
    assert path.stat().st_size < 8_000_000
    page = visit(path.as_uri())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(SHOWN)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(400)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (scheme, width)
            picture = directory / f"{scheme}-{width}.png"
            page.screenshot(path=picture)
            with Image.open(picture) as image:
                grey = np.asarray(image.convert("L"), np.float64)
            assert (np.median(grey) < 64) == (scheme == "dark")
            assert grey.std() > 8, "something is drawn"
    labels = page.evaluate(AXES)
    assert len(labels) >= 8
    assert all(labels), "every axis has a label"


# the live explorer

PLAN = Plan(views=2, samples=20, classes=4, block_rows=8, split="test")


@contextmanager
def serve(shown: Shown) -> Iterator[str]:
    """The live explorer in a thread of its own."""
    ready, address = threading.Event(), []

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        server = make_server(shown)
        server.start()
        address.extend([server, f"http://127.0.0.1:{server.port}/"])
        ready.set()
        server.io_loop.start()
        server.io_loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(20)
    try:
        yield address[1]
    finally:
        server = address[0]
        server.io_loop.add_callback(lambda: (server.stop(), server.io_loop.stop()))
        thread.join(20)


def test_the_live_explorer_shows_what_is_picked(visit, tmp_path, unsynced):
    PLAN.write(tmp_path / "store.zarr", leave_out={(1, 2)})
    store = open_store(tmp_path / "store.zarr")
    stored = np.concatenate([store.logits("big", "test").read(0, block) for block in range(3)])
    student = np.random.default_rng(5).normal(0, 2, stored.shape).astype(np.float32)

    def pixels(_split: str, row: int, view: int) -> np.ndarray:
        return np.full((3, 5 + view, 4), row, np.uint8)

    shown = Shown(store, {"test": [Source("small", teacher=False, logits=student)]}, pixels)
    with serve(shown) as address:
        page = visit(address)
        page.wait_for_function(FILLED)

        def bars(*expected: np.ndarray) -> None:
            first = softmax(expected[0], START)[0]
            page.wait_for_function(f"Math.abs({SOURCE}.p[0] - {first}) < 1e-9")
            np.testing.assert_allclose(page.evaluate(BARS), softmax(np.stack(expected), START), rtol=1e-9)

        bars(stored[0], student[0])
        page.get_by_text("next").click()
        bars(stored[1], student[1])
        page.get_by_label("true class").select_option("c")
        bars(stored[2], student[2])  # labels go round: the first of class c is row 2
        page.get_by_text("next").click()
        bars(stored[6], student[6])
        page.get_by_label("view").select_option("1")
        bars(store.logits("big", "test").read(1, 0)[6])  # students have the clean view only
        page.wait_for_function("document.querySelector('.bk-Column') != null")
        assert page.locator(".card img").evaluate("(image) => image.naturalHeight") == 6
        page.get_by_label("sample").fill("4")  # row 18, whose block is not there
        page.keyboard.press("Enter")
        page.get_by_text("is not committed").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
