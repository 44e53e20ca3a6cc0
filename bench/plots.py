"""Map and scatter of a whole layer in Chromium: time until they are drawn, and frames while dragging.

Chromium draws in software here, on cores that it shares with the server; a graphics card only helps.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright
from rich.console import Console
from rich.table import Table

from app.urls import Urls
from bench.measure import Budget, Percentiles, keep, percentiles
from bench.servers import serving
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
WINDOW = ViewportSize(width=1280, height=900)
DRAWN = "(tag) => document.querySelector(tag)?.plot?.u.scales.x.max > -Infinity"
# From here on: how long each drawing of the points takes, and when frames begin.
WATCH = """(tag) => {
  const { plot } = document.querySelector(tag);
  const draw = plot.draw.bind(plot);
  window.draws = [];
  window.frames = [];
  plot.draw = (u) => {
    const started = performance.now();
    draw(u);
    window.draws.push((performance.now() - started) / 1e3);
    return null;
  };
  const frame = (now) => { window.frames.push(now / 1e3); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""


@dataclass(frozen=True)
class Plotted:
    """One kind of plot."""

    n_points: int
    drawn_ms: float  # from the navigation to the first points, the server's work included
    draw: Percentiles  # of the points alone, where all of them are in view
    frame: Percentiles | None  # from one to the next while the map is dragged; a scatter does not move

    def budgets(self, name: str) -> Iterator[Budget]:
        yield Budget(f"{name}: drawn", self.drawn_ms / 1e3, 2, "s")
        yield Budget(f"{name}: one drawing, median", self.draw.median_ms, 33, "ms")
        if self.frame:
            yield Budget(f"{name}: frame while dragging, median", self.frame.median_ms, 50, "ms")


def main(index_dir: Path) -> None:
    """Measures the slot with the most active features. Prints a table and keeps `plots.json`."""
    with IndexReader(index_dir) as reader:
        slug = reader.manifest.slug
        slot = max(reader.manifest.slots, key=lambda slot: reader.summary(slot).n_active)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scopeview", "serve", str(index_dir), "--device", "off"]
        command += ["--uploads", f"{folder}/uploads"]
        every_core = range(os.cpu_count() or 1)
        with serving(command, "/readyz", Path(folder) / "log", cores=every_core) as server:
            plotted = _measure(server.base_url, slug, slot)
    table = Table("", "found", "bound", title=f"plots of {slot.name}")
    for name, each in plotted.items():
        table.add_row(f"{name}: points", f"{each.n_points:,}", "")
        for budget in each.budgets(name):
            table.add_row(budget.name, *budget.cells())
    Console(width=110).print(table)
    keep("plots", {"index": index_dir.name, "plots": {name: asdict(each) for name, each in plotted.items()}})


def _measure(base_url: str, slug: str, slot: Slot) -> dict[str, Plotted]:
    urls = Urls()
    pages = {
        "feature-map": base_url + urls.map(slug, slot.layer, token=slot.token),
        "feature-scatter": base_url + urls.gallery(slug, slot.layer, token=slot.token, plot=1),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        found = {tag: _plotted(browser.new_page(viewport=WINDOW), tag, url) for tag, url in pages.items()}
        browser.close()
    return found


def _plotted(page: Page, tag: str, url: str) -> Plotted:
    page.goto(url, wait_until="commit")
    page.wait_for_function(DRAWN, arg=tag)
    drawn_ms = float(page.evaluate("performance.now()"))
    page.wait_for_load_state("networkidle")
    page.evaluate(WATCH, tag)
    for _ in range(20):
        page.evaluate("(tag) => document.querySelector(tag).plot.u.redraw(true, false)", tag)
    draws = [float(seconds) for seconds in page.evaluate("window.draws")]
    n_points = int(page.evaluate("(tag) => document.querySelector(tag).plot.points.length", tag))
    frame = percentiles(_dragged(page, tag)) if tag == "feature-map" else None
    return Plotted(n_points, drawn_ms, percentiles(draws), frame)


def _dragged(page: Page, tag: str) -> list[float]:
    """Returns the seconds from frame to frame, while the map is dragged to and fro."""
    box = page.locator(f"{tag} .u-over").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate("window.frames.length = 0")
    for side in (80, -80) * 4:
        page.mouse.move(x + side, y + side / 2, steps=15)
    frames = [float(begun) for begun in page.evaluate("window.frames")]
    page.mouse.up()
    return [later - earlier for earlier, later in pairwise(frames)]


def _chromium() -> str:
    script = Path(__file__).resolve().parent.parent / "scripts" / "chromium"
    found = subprocess.run(
        [script], capture_output=True, text=True, check=True, env={**os.environ, "VENV": sys.prefix}
    )
    return found.stdout.strip()
