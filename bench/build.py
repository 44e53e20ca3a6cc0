"""The build at full size: seconds, peak memory, bytes, and how long one read takes afterwards.

Synthetic shards are written first and not counted. The build itself is a process of its own on two cores, so
that its peak memory is its own too. The folders stay: the next run has only the build to do.
"""

import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Budget, ChildRun, Percentiles, disk_gb, keep, percentiles, run_child, timed
from bench.synthetic.index import make_shards, plan_of
from bench.synthetic.spec import Spec, manifest_of, read_spec
from indexer.build import build_database, work_dir
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader

LAYERS, TOKENS, N_FEATURES, K = (2, 5, 8, 11, 14, 17, 20, 22), ("cls", "137"), 65_536, 32
PAIRS_AN_IMAGE = len(LAYERS) * len(TOKENS) * K
FULL_PAIRS = 256_000_000
N_KEYS = 1000
N_CORES = 2


@dataclass(frozen=True)
class Built:
    """One build of one size."""

    n_pairs: int
    run: ChildRun
    database_gb: float
    parts_gb: float  # beside it while the build lasts
    reads: dict[str, Percentiles]

    def figures(self) -> dict[str, object]:
        """By name, as JSON keeps them."""
        reads = {name: read._asdict() for name, read in self.reads.items()}
        return {**asdict(self), "run": self.run._asdict(), "reads": reads}

    def budgets(self) -> Iterator[Budget]:
        """What a build of full size must keep to; a smaller one has to all the more."""
        yield Budget("build", self.run.wall_s, 150, "s")
        yield Budget("processor time", self.run.cpu_s, N_CORES * 150, "s")
        yield Budget("peak memory", self.run.peak_gb, 10, "GB")
        yield Budget("database", self.database_gb, 4, "GB")
        for name, read in self.reads.items():
            yield Budget(f"{name}, median", read.median_ms, 1, "ms")
            yield Budget(f"{name}, p99", read.p99_ms, 5, "ms")


def folder_of(work: Path, n_images: int) -> Path:
    return work / f"synthetic-{n_images}"


def spec_of(n_pairs: int) -> Spec:
    return Spec(max(n_pairs // PAIRS_AN_IMAGE, 1), LAYERS, TOKENS, N_FEATURES, K)


def main(sizes: Sequence[int], work: Path) -> None:
    """One column a size, in (feature, activation) pairs."""
    built: list[Built] = []
    for n_pairs in sizes:
        built.append(_measure(n_pairs, work))
        keep("build", {"builds": [each.figures() for each in built]})
    table = Table("", "bound", *(f"{each.n_pairs / 1e6:,.1f} M pairs" for each in built), title="build")
    for rows in zip(*(list(each.budgets()) for each in built), strict=True):
        cells = [row.cells() for row in rows]
        table.add_row(rows[0].name, cells[-1].bound, *(cell.value for cell in cells))
    Console(width=110).print(table)


def build_alone(index_dir: Path, database: Path) -> None:
    """What the measured process does."""
    build_database(plan_of(index_dir, read_spec(index_dir)), database)


def _measure(n_pairs: int, work: Path) -> Built:
    spec = spec_of(n_pairs)
    index_dir = folder_of(work, spec.n_images)
    make_shards(index_dir, spec)
    shutil.rmtree(work_dir(index_dir), ignore_errors=True)
    fresh = index_dir / "fresh.duckdb"
    fresh.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench", "build-alone", str(index_dir), str(fresh)]
    run = run_child(command, cores=range(N_CORES))
    parts_gb = disk_gb(work_dir(index_dir))
    shutil.rmtree(work_dir(index_dir))
    # In its place, so that what is served from this folder need not be built again.
    fresh.replace(index_dir / spec.database)
    return Built(n_pairs, run, disk_gb(index_dir / spec.database), parts_gb, _reads(index_dir, spec))


def _reads(index_dir: Path, spec: Spec) -> dict[str, Percentiles]:
    """1,000 random keys for each of the questions that every page asks."""
    picked = random.Random(0)
    features = [(picked.choice(spec.slots), picked.randrange(spec.n_features)) for _ in range(N_KEYS)]
    images = [picked.randrange(spec.n_images) for _ in range(N_KEYS)]
    with IndexReader(index_dir, manifest_of(spec, "synthetic")) as reader:
        return {
            "top images of a feature": percentiles(timed(features, _tops(reader, spec))),
            "codes of an image": percentiles(timed(images, _codes(reader, spec))),
        }


def _tops(reader: IndexReader, spec: Spec) -> Callable[[tuple[Slot, int]], object]:
    """As `IndexReader.figures` finds a feature."""
    sql = "SELECT layer, token, feature, top_images, top_values FROM features WHERE rowid >= $row LIMIT 1"

    def ask(key: tuple[Slot, int]) -> object:
        slot, feature = key
        (found,) = reader.sql(sql, {"row": spec.slots.index(slot) * spec.n_features + feature})
        assert found[:3] == (str(slot.layer), slot.token, feature)
        return found

    return ask


def _codes(reader: IndexReader, spec: Spec) -> Callable[[int], object]:
    """As `IndexReader.codes` asks."""
    n_slots = len(spec.slots)
    sql = (
        f"SELECT image_id, layer, token, features, activations FROM codes WHERE rowid >= $row LIMIT {n_slots}"
    )

    def ask(image_id: int) -> object:
        found = reader.sql(sql, {"row": image_id * n_slots})
        assert [row[0] for row in found] == [image_id] * n_slots
        return found

    return ask
