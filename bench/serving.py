"""The server on an index of full size: how long a page takes, and how Datasette does on the same table.

`scopeview serve` has one core, the client the others. The client asks for 50 pages a second, each a different
one, so that none comes from a cache of pages; then for the same ones again. Requests a second are compared
with Datasette's HTML page of a row, both in this run and with as many requests under way.
"""

import json
import os
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.urls import Urls
from bench import datasette
from bench.load import Load, at_rate, flat_out
from bench.measure import Budget, Percentiles, keep, percentiles, pin
from bench.servers import SERVER_CORE, RunningServer, serving
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES, SORTS

PER_S = 50.0
SECONDS = 30.0
AT_ONCE = 4
FLAT_OUT = 1500
BOUNDED = ("gallery", "feature")
MEDIAN_MS, P99_MS = 10.0, 50.0
_WARM_TIMEOUT_S = 120.0

Paths = Callable[[random.Random], str]


@dataclass(frozen=True)
class ServingResult:
    """The measurements of one run."""

    start_s: float
    warm_s: float  # from then on until it has read ahead what pages need
    resident_gb: float
    first_time: dict[str, Percentiles]  # by kind of page, each page a different one
    again: dict[str, Percentiles]  # the same pages once more
    page_kb: dict[str, float]  # gzipped, on average
    per_s: dict[str, float]  # requests a second: feature pages the first time, again, Datasette's

    def budgets(self) -> Iterator[Budget]:
        yield Budget("start", self.start_s, 2, "s")
        yield Budget("resident", self.resident_gb, 1.5, "GB")
        for name in BOUNDED:
            yield Budget(f"{name}, median", self.first_time[name].median_ms, MEDIAN_MS, "ms")
            yield Budget(f"{name}, p99", self.first_time[name].p99_ms, P99_MS, "ms")
        theirs = self.per_s["datasette"]
        for name, goal in (("again", 4), ("first time", None)):
            ratio = self.per_s[name] / theirs
            yield Budget(f"feature pages {name} / Datasette's rows", ratio, goal, "x", at_least=True)


def main(index_dir: Path, *, seconds: float = SECONDS, n_flat_out: int = FLAT_OUT) -> None:
    """Prints two tables and keeps `serving.json`."""
    pin(set(range(os.cpu_count() or 1)) - {SERVER_CORE} or {SERVER_CORE})
    with tempfile.TemporaryDirectory() as folder, IndexReader(index_dir) as reader:
        theirs = _theirs(reader, Path(folder), n_flat_out)
        with _ours(index_dir, Path(folder)) as server:
            n_of_kind = round(seconds * PER_S)
            found = _measure(server, _paths(reader), n_of_kind, n_flat_out, theirs)
    _print(found)
    keep("serving", {"index": index_dir.name, **asdict(found)})


def _ours(index_dir: Path, folder: Path) -> AbstractContextManager[RunningServer]:
    command = [sys.executable, "-m", "scopeview", "serve", str(index_dir), "--device", "off"]
    return serving([*command, "--uploads", str(folder / "uploads")], "/readyz", folder / "scopeview.log")


def _theirs(reader: IndexReader, folder: Path, n: int) -> float:
    """Returns Datasette's pages a second."""
    database = folder / "slot.db"
    slot = reader.manifest.slots[0]
    datasette.export(reader, slot, database)
    os.sync()  # what is measured next has the disk to itself
    features = random.Random(1).sample(_active(reader, slot), n)
    paths = [datasette.row_path(database, feature) for feature in features]
    with serving(datasette.command(database), "/-/versions.json", folder / "datasette.log") as server:
        flat_out(server.base_url, paths[: n // 10], AT_ONCE)
        return flat_out(server.base_url, paths, AT_ONCE).per_s


def _measure(
    server: RunningServer,
    kinds: Mapping[str, Paths],
    n: int,
    n_flat_out: int,
    theirs: float,
) -> ServingResult:
    """Measures once the index is in memory: a server reads it ahead while it serves."""
    warm_s = _until_warm(server)
    loads: dict[str, Load] = {}
    again: dict[str, Percentiles] = {}
    for name, path in kinds.items():
        paths = _distinct(path, n, seed=0)
        loads[name] = at_rate(server.base_url, paths, PER_S)
        again[name] = percentiles(at_rate(server.base_url, paths, PER_S).seconds)
    paths = _distinct(kinds["feature"], n_flat_out, seed=1)
    return ServingResult(
        start_s=server.start_s,
        warm_s=warm_s,
        first_time={name: percentiles(load.seconds) for name, load in loads.items()},
        again=again,
        page_kb={name: load.n_bytes / len(load.seconds) / 1e3 for name, load in loads.items()},
        per_s={
            "datasette": theirs,
            "first time": flat_out(server.base_url, paths, AT_ONCE).per_s,
            "again": flat_out(server.base_url, paths[: n_flat_out // 10] * 10, AT_ONCE).per_s,
        },
        resident_gb=server.resident_gb,
    )


def _until_warm(server: RunningServer) -> float:
    """Returns the seconds until the index is in memory. Raises `SystemExit` if it never is."""
    started = time.monotonic()
    while time.monotonic() - started < _WARM_TIMEOUT_S:
        with urllib.request.urlopen(f"{server.base_url}/readyz") as answer:
            if all(json.load(answer)["warm"].values()):
                return time.monotonic() - started
        time.sleep(0.05)
    raise SystemExit(
        f"{server.base_url} did not read its index ahead in {_WARM_TIMEOUT_S:g} s; its log says why"
    )


def _paths(reader: IndexReader) -> dict[str, Paths]:
    """Returns, by kind of page, a function that makes the path of a random one."""
    urls, slug, slots = Urls(), reader.manifest.slug, reader.manifest.slots
    active = {slot: _active(reader, slot) for slot in slots}

    def gallery(picked: random.Random) -> str:
        slot, n_pages = picked.choice(slots), max(len(active[slots[0]]) // 48, 1)
        page = picked.randint(1, min(n_pages, 200))
        return urls.gallery(slug, slot.layer, token=slot.token, sort=picked.choice(SORTS), page=page)

    def feature(picked: random.Random, *, api: bool = False) -> str:
        slot = picked.choice(slots)
        return urls.feature(slug, slot.layer, picked.choice(active[slot]), slot.token, api=api)

    def image(picked: random.Random) -> str:
        return urls.image(slug, picked.randrange(reader.manifest.n_images))

    return {
        "gallery": gallery,
        "feature": feature,
        "feature as JSON": partial(feature, api=True),
        "image": image,
    }


def _active(reader: IndexReader, slot: Slot) -> list[int]:
    rows = reader.sql(
        "SELECT feature FROM features WHERE layer = $layer AND token = $token AND n_active >= $least",
        {"layer": str(slot.layer), "token": slot.token, "least": MIN_GRID_IMAGES},
    )
    return [feature for (feature,) in rows]


def _distinct(path: Paths, n: int, seed: int) -> list[str]:
    picked = random.Random(seed)
    found = dict.fromkeys(path(picked) for _ in range(4 * n))
    return list(found)[:n]


def _print(found: ServingResult) -> None:
    console = Console(width=110)
    pages = Table(
        "page", "KB", "median ms", "p99 ms", "again: median", "p99", title=f"{PER_S:g} pages/s, one core"
    )
    for name, first in found.first_time.items():
        again = found.again[name]
        figures = (first.median_ms, first.p99_ms, again.median_ms, again.p99_ms)
        pages.add_row(name, f"{found.page_kb[name]:.1f}", *(f"{figure:.1f}" for figure in figures))
    console.print(pages)
    rates: Sequence[str] = [f"{name}: {per_s:,.0f}" for name, per_s in found.per_s.items()]
    console.print(f"feature pages a second, {AT_ONCE} at once: {', '.join(rates)}")
    bounds = Table("", "found", "bound", title="serving")
    for budget in found.budgets():
        bounds.add_row(budget.name, *budget.cells())
    console.print(bounds)
