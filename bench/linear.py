"""Checks that an image costs the same among a thousand as among a hundred thousand.

It runs `scopeview index` at each size, with a small CLIP on small images, so that the work around the model
is seen. It prints the seconds per image of every stage.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import keep
from tests.indexer.sources.tars import write_tar
from tests.indexer.tiny import jpeg, write_model, write_suite

PER_SHARD = 1000


def main(sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model")
        write_suite(work / "suite")
        _write_source(work / "source", max(sizes))
        _index(work, 64)  # converts the checkpoints, once for all
        found = {n_images: _index(work, n_images) for n_images in sizes}
    stages = list(next(iter(found.values())))
    table = Table("images", *stages, "CPU, each more", title="milliseconds an image, by stage")
    more = _each_more({n_images: seconds["CPU"] for n_images, seconds in found.items()})
    for n_images, seconds in found.items():
        each = (f"{1e3 * seconds[stage] / n_images:.3f}" for stage in stages)
        table.add_row(f"{n_images:,}", *each, f"{1e3 * more[n_images]:.3f}" if n_images in more else "")
    Console(width=110).print(table)
    figures = {str(n): seconds for n, seconds in found.items()}
    keep("linear", {"seconds": figures, "cpu_s_each_more": {str(n): one for n, one in more.items()}})


def _each_more(cpu_s: Mapping[int, float]) -> dict[int, float]:
    """Returns the cost of each image beyond the next smaller size: fixed costs cancel out."""
    sizes = sorted(cpu_s)
    return {n: (cpu_s[n] - cpu_s[before]) / (n - before) for before, n in pairwise(sizes)}


def _write_source(folder: Path, n_images: int) -> None:
    """Writes the tars. The images repeat after a thousand: their content does not matter here."""
    folder.mkdir()
    images = [jpeg(seed) for seed in range(min(n_images, 1000))]
    for shard in range(-(-n_images // PER_SHARD)):
        numbers = range(shard * PER_SHARD, min((shard + 1) * PER_SHARD, n_images))
        write_tar(folder / f"{shard:05d}.tar", [(f"{i:06d}.jpg", images[i % 1000]) for i in numbers])


def _index(work: Path, n_images: int) -> dict[str, float]:
    """Returns the seconds by stage, of `all` (start of Python and loading included), and of the `CPU`."""
    command = [sys.executable, "-m", "scopeview", "index", str(work / "source")]
    weights = ["--model", str(work / "model"), "--sae", str(work / "suite")]
    options = ["--tokens", "cls,5", "--limit", str(n_images), "--batch-size", "32", "--dtype", "float32"]
    out = ["--out", str(work / f"index-{n_images}"), "--slug", "linear"]
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "SCOPEVIEW_CACHE": str(work / "cache")}
    done = subprocess.run(
        [*command, *weights, *options, *out], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    total_s, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = (json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
    seconds = {line["task"]: float(line["elapsed_s"]) for line in lines if "elapsed_s" in line}
    return {**seconds, "all": total_s, "CPU": cpu_s}
