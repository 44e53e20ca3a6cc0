"""Compares the full-size build with a bare sort of the same rows, and point reads with reads of one integer.

Goals are ratios within one run: seconds depend on the machine and on what else it does. Synthetic shards are
written first and not counted. Sort and build are processes of their own on two cores, one after the other, so
that each has a peak memory of its own. The folders stay: the next run needs no new shards.
"""

import random
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb
from rich.console import Console
from rich.table import Table

from bench.measure import Budget, ChildRun, Percentiles, disk_gb, keep, percentiles, run_child, timed
from bench.synthetic.index import make_shards, plan_of
from bench.synthetic.spec import Spec, manifest_of, read_spec
from indexer import build_sql
from indexer.build import DEFAULT_MEMORY_LIMIT, build_database, work_dir
from scopeview.slots import Slot
from scopeview.store.duckdb_paths import attach_new
from scopeview.store.reader import IndexReader

LAYERS, TOKENS, N_FEATURES, K = (2, 5, 8, 11, 14, 17, 20, 22), ("cls", "137"), 65_536, 32
PAIRS_AN_IMAGE = len(LAYERS) * len(TOKENS) * K
FULL_PAIRS = 256_000_000
N_KEYS = 1000
N_CORES = 2
BUILD_GOAL, READ_GOAL = 1.5, 1.3

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Built:
    """One build of one size."""

    n_pairs: int
    sort: ChildRun  # the same rows sorted into one table, and nothing else
    run: ChildRun
    database_gb: float
    parts_gb: float  # beside it while the build lasts
    reads: dict[str, Percentiles]
    bare_reads: dict[str, Percentiles]  # of one integer of the same rows

    def figures(self) -> dict[str, object]:
        """Returns the figures by name, as JSON keeps them."""
        kept = {name: read._asdict() for name, read in self.reads.items()}
        bare = {name: read._asdict() for name, read in self.bare_reads.items()}
        runs = {"sort": self.sort._asdict(), "run": self.run._asdict()}
        return {**asdict(self), **runs, "reads": kept, "bare_reads": bare}

    def budgets(self) -> Iterator[Budget]:
        """Yields the figures. Goals for ratios, memory and disk are for full size; smaller builds are
        easier."""
        yield Budget("build / bare sort", self.run.wall_s / self.sort.wall_s, BUILD_GOAL, "x")
        yield Budget("the same by processor time", self.run.cpu_s / self.sort.cpu_s, None, "x")
        yield Budget("bare sort", self.sort.wall_s, None, "s")
        yield Budget("build", self.run.wall_s, None, "s")
        yield Budget("processor time", self.run.cpu_s, None, "s")
        yield Budget("peak memory", self.run.peak_gb, 10, "GB")
        yield Budget("database", self.database_gb, 4, "GB")
        for name, read in self.reads.items():
            yield Budget(
                f"{name} / bare read", read.median_ms / self.bare_reads[name].median_ms, READ_GOAL, "x"
            )
            yield Budget(f"{name}, median", read.median_ms, None, "ms")
            yield Budget(f"{name}, p99", read.p99_ms, None, "ms")


def folder_of(work: Path, n_images: int) -> Path:
    return work / f"synthetic-{n_images}"


def spec_of(n_pairs: int) -> Spec:
    return Spec(max(n_pairs // PAIRS_AN_IMAGE, 1), LAYERS, TOKENS, N_FEATURES, K)


def main(sizes: Sequence[int], work: Path) -> None:
    """Prints one column per size, in (feature, activation) pairs."""
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
    """Builds, in the measured process."""
    build_database(plan_of(index_dir, read_spec(index_dir)), database)


def sort_alone(index_dir: Path, database: Path) -> None:
    """Sorts every slot's pairs into one table, in the process that the build is compared with."""
    spec = read_spec(index_dir)
    plan = plan_of(index_dir, spec)
    spill = work_dir(index_dir) / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    config = {"memory_limit": DEFAULT_MEMORY_LIMIT, "temp_directory": str(spill)}
    with duckdb.connect(":memory:", config=config) as connection:  # type: ignore[arg-type]
        attach_new(connection, database, "sorted")
        connection.execute(_SORTED)
        for slot in spec.slots:
            connection.execute(build_sql.ranked(plan.shards, slot))
            connection.execute(f"INSERT INTO sorted.activations SELECT '{slot.name}', * FROM ranked")
            connection.execute("DROP TABLE ranked")
        connection.execute("DETACH sorted")


_SORTED = """
CREATE TABLE sorted.activations (
  slot VARCHAR NOT NULL, feature INTEGER NOT NULL, activation FLOAT NOT NULL, image_id INTEGER NOT NULL,
  position SMALLINT
)
"""


def _measure(n_pairs: int, work: Path) -> Built:
    spec = spec_of(n_pairs)
    index_dir = folder_of(work, spec.n_images)
    make_shards(index_dir, spec)
    shutil.rmtree(work_dir(index_dir), ignore_errors=True)
    sort = _run("sort-alone", index_dir, index_dir / "sorted.duckdb")
    (index_dir / "sorted.duckdb").unlink()
    shutil.rmtree(work_dir(index_dir), ignore_errors=True)
    fresh = index_dir / "fresh.duckdb"
    run = _run("build-alone", index_dir, fresh)
    parts_gb = disk_gb(work_dir(index_dir))
    shutil.rmtree(work_dir(index_dir))
    # In its place, so that what is served from this folder need not be built again.
    fresh.replace(index_dir / spec.database)
    database_gb = disk_gb(index_dir / spec.database)
    return Built(n_pairs, sort, run, database_gb, parts_gb, *_reads(index_dir, spec))


def _run(name: str, index_dir: Path, database: Path) -> ChildRun:
    database.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench", name, str(index_dir), str(database)]
    return run_child(command, cores=range(N_CORES))


def _reads(index_dir: Path, spec: Spec) -> tuple[dict[str, Percentiles], dict[str, Percentiles]]:
    """Times 1,000 random keys for each query that every page makes, and bare reads of the same rows."""
    picked = random.Random(0)
    features = [(picked.choice(spec.slots), picked.randrange(spec.n_features)) for _ in range(N_KEYS)]
    images = [picked.randrange(spec.n_images) for _ in range(N_KEYS)]
    with IndexReader(index_dir, manifest_of(spec, "synthetic")) as reader:
        tops, codes = _tops(reader, spec), _codes(reader, spec)
        n_slots = len(spec.slots)
        bare_top = _bare(reader, "features", partial(_feature_row, spec), 1)
        bare_codes = _bare(reader, "codes", n_slots.__mul__, n_slots)
        queries = {
            "top images of a feature": _side_by_side(features, tops, bare_top),
            "codes of an image": _side_by_side(images, codes, bare_codes),
        }
        return {name: full for name, (full, _) in queries.items()}, {
            n: bare for n, (_, bare) in queries.items()
        }


def _side_by_side(
    keys: Sequence[_Key], full: Callable[[_Key], object], bare: Callable[[_Key], object]
) -> tuple[Percentiles, Percentiles]:
    """Times both for one key after another, so that other work on the machine slows both alike."""
    timed(keys[:50], bare)  # the connection and its plans are made once
    times = [(timed([key], bare)[0], timed([key], full)[0]) for key in keys]
    return percentiles(both[1] for both in times), percentiles(both[0] for both in times)


def _feature_row(spec: Spec, key: tuple[Slot, int]) -> int:
    slot, feature = key
    return spec.slots.index(slot) * spec.n_features + feature


def _bare(
    reader: IndexReader, table: str, row_of: Callable[[_Key], int], n_rows: int
) -> Callable[[_Key], object]:
    """Reads the row numbers of as many rows at the same place, and none of their columns."""
    sql = f"SELECT rowid FROM {table} WHERE rowid >= $row LIMIT {n_rows}"
    return lambda key: reader.sql(sql, {"row": row_of(key)})


def _tops(reader: IndexReader, spec: Spec) -> Callable[[tuple[Slot, int]], object]:
    """Finds a feature as `IndexReader.figures` does."""
    sql = "SELECT layer, token, feature, top_images, top_values FROM features WHERE rowid >= $row LIMIT 1"

    def ask(key: tuple[Slot, int]) -> object:
        slot, feature = key
        (found,) = reader.sql(sql, {"row": _feature_row(spec, key)})
        assert found[:3] == (str(slot.layer), slot.token, feature)
        return found

    return ask


def _codes(reader: IndexReader, spec: Spec) -> Callable[[int], object]:
    """Reads codes as `IndexReader.codes` does."""
    n_slots = len(spec.slots)
    sql = (
        f"SELECT image_id, layer, token, features, activations FROM codes WHERE rowid >= $row LIMIT {n_slots}"
    )

    def ask(image_id: int) -> object:
        found = reader.sql(sql, {"row": image_id * n_slots})
        assert [row[0] for row in found] == [image_id] * n_slots
        return found

    return ask
