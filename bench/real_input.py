"""The main job at full size on real images: `scopeview index`, end to end, on this machine's CPU.

ViT-L/14 and two 65,536-feature SAEs (random weights, real shapes and formats), layers 11 and 22, at `cls`,
`137` and `any`, over the image sets given. Each run is a process with a peak memory of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.weights import write_clip_scope, write_vit_l_14

LAYERS = (11, 22)


@dataclass(frozen=True)
class TimedRun:
    """One `scopeview index`."""

    source: str
    n_images: int
    encode_s: float
    total_s: float
    peak_gb: float
    index_mb: float


def main(sources: Sequence[str], *, dtype: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model, suite = write_vit_l_14(work / "model"), write_clip_scope(work / "suite", LAYERS)
        runs = [_index(Path(source), model, suite, work, dtype) for source in sources]
    _print(runs, dtype)


def _index(source: Path, model: Path, suite: Path, work: Path, dtype: str) -> TimedRun:
    out = work / f"index-{source.name}"
    command = [
        sys.executable,
        "-m",
        "scopeview",
        "index",
        str(source),
        "--model",
        str(model),
        "--sae",
        str(suite),
    ]
    options = ["--tokens", "cls,137,any", "--dtype", dtype, "--out", str(out)]
    environment = {**os.environ, "SCOPEVIEW_CACHE": str(work / "cache")}
    started = time.monotonic()
    process = subprocess.Popen([*command, *options], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    encode_s = 0.0
    for line in process.stderr:
        sys.stderr.write(line)
        if line.startswith("{") and (task := json.loads(line))["task"] == "encode":
            encode_s = task["elapsed_s"]
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"scopeview index {source} failed with status {status}")
    total_s = time.monotonic() - started
    manifest = json.loads((out / "manifest.json").read_bytes())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return TimedRun(source.name, manifest["n_images"], encode_s, total_s, usage.ru_maxrss / 1e6, size / 1e6)


def _print(runs: Sequence[TimedRun], dtype: str) -> None:
    title = (
        f"scopeview index: ViT-L/14, 2 x 65,536 features, cls + 137 + any, {dtype}, {os.cpu_count()} cores"
    )
    table = Table("source", "images", "total s", "encode images/s", "peak GB", "index MB", title=title)
    for run in runs:
        rate = f"{run.n_images / run.encode_s:.2f}"
        figures = (f"{run.total_s:.0f}", rate, f"{run.peak_gb:.1f}", f"{run.index_mb:.0f}")
        table.add_row(run.source, str(run.n_images), *figures)
    Console(width=110).print(table)
