"""Uploads: one visitor's waiting time, and 200 uploads at once, on a small index and at full size.

Server and client share all cores. The small index exists already, such as the demo's; full-size ones are made
here: ViT-L/14 in bfloat16 and SAEs of 65,536 features (random weights, real shapes and formats) over some
real web images.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Budget, Percentiles, keep
from bench.servers import RunningServer, serving
from bench.uploads_client import read_images
from bench.uploads_latency import LatencyFound, visit
from bench.uploads_load import N_UPLOADS, LoadFound, load
from bench.weights import write_clip_scope, write_vit_l_14
from scopeview.store.reader import IndexReader

LAYERS = (2, 5, 8, 11, 14, 17, 20, 22)
N_VISITS = 40
N_FULL_VISITS = 15
_N_INDEXED = 24
_MAX_LOAD_S = 300


def small(index_dir: Path, images: Path) -> None:
    """Measures an index that exists. Prints tables and keeps `uploads.json`."""
    sent = read_images(images, N_VISITS + N_UPLOADS)
    with IndexReader(index_dir) as reader:
        with _served(index_dir) as server:
            alone = visit(server, reader.manifest, sent[:N_VISITS])
        with _served(index_dir) as server:
            together = load(server, reader, sent[N_VISITS:])
    budgets = [
        Budget("upload to page, median", alone.upload_to_page.median_ms, 250, "ms"),
        Budget("another view, median", alone.view.median_ms, 30, "ms"),
        *together.budgets(),
    ]
    _print_visits(index_dir.name, alone)
    _print_load(together)
    _print_budgets(budgets)
    keep("uploads", {"index": index_dir.name, "alone": asdict(alone), "together": asdict(together)})


def full(work: Path, source: Path, images: Path) -> None:
    """Prints tables and keeps `uploads-full.json`. Makes 10 GB of weights in `work`, for the next run too."""
    sent = read_images(images, N_FULL_VISITS)
    found: dict[str, LatencyFound] = {}
    for layers in ((LAYERS[-1],), LAYERS):
        index_dir = _full_index(work, source, layers)
        with IndexReader(index_dir) as reader, _served(index_dir, work) as server:
            found[f"{len(layers)} SAE{'s'[: len(layers) > 1]}"] = visit(server, reader.manifest, sent)
    one = found["1 SAE"]
    for name, alone in found.items():
        _print_visits(f"ViT-L/14, {name}", alone)
    _print_budgets([Budget("upload to page, one SAE, median", one.upload_to_page.median_ms, 1000, "ms")])
    keep("uploads-full", {name: asdict(alone) for name, alone in found.items()})


@contextmanager
def _served(index_dir: Path, cache: Path | None = None) -> Iterator[RunningServer]:
    """Serves on all cores, with the model loaded at the start and without limits on uploads."""
    unlimited = {
        "SCOPEVIEW_UPLOADS_PER_MINUTE": "0",
        "SCOPEVIEW_UPLOADS_PER_CLIENT": "0",
        "SCOPEVIEW_MODEL_SECONDS_PER_MINUTE": "0",
    }
    environment = {"SCOPEVIEW_ENCODER_LOAD": "start", **unlimited, **_cache(cache)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scopeview", "serve", str(index_dir), "--device", "cpu"]
        words = [*command, "--uploads", str(Path(folder) / "uploads")]
        cores = range(os.cpu_count() or 1)
        with serving(words, "/readyz", Path(folder) / "log", environment, cores=cores) as server:
            wait_for_model(server)
            yield server


def wait_for_model(server: RunningServer) -> None:
    """Waits until the model is loaded. Raises `SystemExit` if it cannot be loaded."""
    for _ in range(_MAX_LOAD_S):
        with urllib.request.urlopen(f"{server.base_url}/readyz") as answer:
            (state,) = json.loads(answer.read())["encoder"].values()
        if state == "loaded":
            return
        if state != "not loaded yet":
            break
        time.sleep(1)
    raise SystemExit(f"the index's model is not loaded: {state}")


def _full_index(work: Path, source: Path, layers: Sequence[int]) -> Path:
    """Returns the index; makes the weights and the index only once."""
    model, suite = work / "vit-l-14", work / "clip-scope"
    if not (model / "preprocessor_config.json").is_file():
        write_vit_l_14(model)
    missing = [layer for layer in layers if not list((suite / f"{layer}_resid").glob("*.pt"))]
    write_clip_scope(suite, missing)
    out = work / f"index-{len(layers)}"
    command = [sys.executable, "-m", "scopeview", "index", str(source), "--model", str(model)]
    options = ["--sae", str(suite), "--layers", ",".join(map(str, layers)), "--tokens", "cls,137"]
    limits = ["--limit", str(_N_INDEXED), "--calibration-images", "8", "--batch-size", "4"]
    words = [*command, *options, *limits, "--dtype", "bfloat16", "--out", str(out)]
    subprocess.run(words, env={**os.environ, **_cache(work)}, check=True)
    return out


def _cache(work: Path | None) -> dict[str, str]:
    return {} if work is None else {"SCOPEVIEW_CACHE": str(work / "cache")}


def _print_visits(name: str, found: LatencyFound) -> None:
    title = f"{name}: {found.n_images} images one after another; {found.resident_gb:.2f} GB resident"
    table = Table("", "median ms", "p99 ms", title=title)
    rows: Iterable[tuple[str, Percentiles]] = (
        ("upload, answered", found.upload),
        ("upload to page", found.upload_to_page),
        (f"another view ({found.view_kb:.0f} KB)", found.view),
        ("groups (JSON)", found.groups),
        ("steering (JSON)", found.steering),
    )
    for label, times in rows:
        table.add_row(label, f"{times.median_ms:.1f}", f"{times.p99_ms:.1f}")
    Console(width=110).print(table)


def _print_load(found: LoadFound) -> None:
    title = f"{found.n_uploads} uploads at once: {found.total_s:.0f} s; answers {found.statuses}"
    table = Table("", "median ms", "p99 ms", title=title)
    table.add_row("upload, taken", f"{found.upload.median_ms:.0f}", f"{found.upload.p99_ms:.0f}")
    table.add_row(
        f"{found.n_pages} pages meanwhile", f"{found.page.median_ms:.1f}", f"{found.page.p99_ms:.1f}"
    )
    Console(width=110).print(table)


def _print_budgets(budgets: Sequence[Budget]) -> None:
    bounds = Table("", "found", "bound", title="uploads")
    for budget in budgets:
        bounds.add_row(budget.name, *budget.cells())
    Console(width=110).print(bounds)
