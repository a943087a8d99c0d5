"""Pictures of a run's page for the documentation, taken by chromium.

    python benchmarks/screenshots.py runs/fashion_mnist

Opens ``report.html`` of the run, which may be given by its own path too, and writes ``docs/report.png``, the top of the
page on a desk (1280 pixels wide, light), and ``docs/report-phone.png``, its explorer on a phone (390 points wide, dark,
two pixels a point). Needs playwright, which `make setup` installs, and a chromium of the machine.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Error, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOWN = "document.documentElement.dataset.figures === 'shown'"


@dataclass(frozen=True)
class Shot:
    """One picture."""

    name: str
    width: int
    height: int
    """Points, of the part that is shown."""
    scheme: str
    start: str = ""
    """What is scrolled to the top, as CSS selects it; '' for the top of the page."""
    scale: int = 1
    """Pixels a point."""


SHOTS = (
    Shot("report.png", 1280, 1530, "light"),
    Shot("report-phone.png", 390, 844, "dark", start=".shown", scale=2),
)


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, or a page")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the pictures")
    parser.add_argument("--sample", type=int, default=0, help="which of the explorer's samples is shown, from 0")
    options = parser.parse_args(words)
    page = options.run / "report.html" if options.run.is_dir() else options.run
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not page.is_file():
        sys.exit(f"{page} is missing; `logitcache run` or `logitcache report` writes it")
    if browser is None:
        sys.exit("there is no chromium on this machine; apt-get install chromium")
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        take(page, browser, options.out, options.sample)
    except Error as error:
        sys.exit(f"{page} could not be shown: {error.message}")


def take(page: Path, browser: str, out: Path, sample: int) -> None:
    """Write all pictures of a page into a folder."""
    with sync_playwright() as driver:
        # the sandbox needs what containers do not give; only our own page is opened
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for shot in SHOTS:
            path = out / shot.name
            path.write_bytes(smaller(picture(chromium, page, shot, sample)))
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
        chromium.close()


def picture(chromium: Any, page: Path, shot: Shot, sample: int) -> bytes:
    """A PNG of the page, as the browser gives it."""
    size = {"width": shot.width, "height": shot.height}
    context = chromium.new_context(viewport=size, color_scheme=shot.scheme, device_scale_factor=shot.scale)
    shown = context.new_page()
    shown.goto(page.resolve().as_uri())
    shown.wait_for_function(SHOWN)
    picks = shown.locator(".pick")
    if sample < picks.count():
        picks.nth(sample).click()
    shown.evaluate("(start) => (document.querySelector(start || 'main') ?? document.body).scrollIntoView()", shot.start)
    shown.mouse.move(0, 0)
    shown.wait_for_timeout(500)  # axes take their new range with one of the next frames
    taken: bytes = shown.screenshot()
    context.close()
    return taken


def smaller(png: bytes) -> bytes:
    """The same pixels in fewer bytes."""
    data = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(data, "PNG", optimize=True)
    return data.getvalue()


if __name__ == "__main__":
    main()
