"""Build: collects the codes of all shards into one DuckDB database, slot by slot.

Each slot is computed on its own and written as two Parquet parts, so that a rerun does only what is missing;
the database is then assembled from the parts, in the index's order, and renamed into place.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from indexer import build_sql
from indexer.build_sql import N_BINS, TOP_N, ShardPart
from indexer.shard_writer import ShardMarker
from scopeview.errors import InputError, ScopeviewError
from scopeview.progress import task
from scopeview.slots import Layer, Slot
from scopeview.store.database import interruptible
from scopeview.store.duckdb_paths import attach_new, duckdb_path, quoted
from scopeview.store.files import atomic_write, shard_dir
from scopeview.store.schema import TABLES

__all__ = ["N_BINS", "TOP_N", "BuildPlan", "LayerWidth", "build_database", "build_slot", "write_database"]

DEFAULT_MEMORY_LIMIT = "6GB"
"""DuckDB's own default is 80 % of the machine. A slot of 16 million pairs is sorted in a tenth of this."""
_BY_SLOT = ("features", "activations")
_SPILL_PART = 0.9  # of the free disk
_CODES_AT_ONCE = 500_000
"""How many rows of `codes` (one per image and slot) are sorted together; a larger shard is sorted alone."""


@dataclass(frozen=True)
class LayerWidth:
    """The properties of a layer's SAE that the build needs."""

    n_features: int
    k: int | None  # None: a ReLU or JumpReLU SAE, whose codes are kept whole


def work_dir(index_dir: Path) -> Path:
    """The folder of parts and spill files; removed when the index is complete."""
    return index_dir / "build"


def check_memory_limit(memory_limit: str | None) -> None:
    """Raises `InputError` for an amount of memory that DuckDB does not understand."""
    try:
        duckdb.connect(config={} if memory_limit is None else {"memory_limit": memory_limit}).close()
    except duckdb.Error as error:
        raise InputError(
            f"--memory-limit {memory_limit!r} is not an amount of memory ({error}); expected such as '8GB'"
        ) from error


@dataclass(frozen=True)
class BuildPlan:
    """The location of the shards and what to build from them."""

    index_dir: Path
    markers: Sequence[ShardMarker]  # by shard number
    slots: Sequence[Slot]
    widths: dict[Layer, LayerWidth]
    memory_limit: str | None = None  # as DuckDB writes it; None: `DEFAULT_MEMORY_LIMIT`, or 80 % of less RAM

    @property
    def work_dir(self) -> Path:
        return work_dir(self.index_dir)

    @cached_property
    def shards(self) -> list[ShardPart]:
        """The shards with at least one usable image."""
        found, first_image = [], 0
        for number, marker in enumerate(self.markers):
            if marker.n_images:
                found.append(ShardPart(number, shard_dir(self.index_dir, number), first_image))
            first_image += marker.n_images
        return found

    def shard_groups(self) -> Iterator[list[ShardPart]]:
        """The shards in runs of about `_CODES_AT_ONCE` codes, at least one shard each."""
        group: list[ShardPart] = []
        n_codes = 0
        for shard in self.shards:
            group.append(shard)
            n_codes += self.markers[shard.number].n_images * len(self.slots)
            if n_codes >= _CODES_AT_ONCE:
                yield group
                group, n_codes = [], 0
        if group:
            yield group

    def part(self, slot: Slot, table: str) -> Path:
        return self.work_dir / f"{slot.name}.{table}.parquet"


def build_slots(plan: BuildPlan, slots: Sequence[Slot]) -> Iterator[Slot]:
    """Computes the slots one after the other; yields each when its parts are written."""
    for slot in slots:
        build_slot(plan, slot)
        yield slot


def build_database(
    plan: BuildPlan,
    database: Path,
    work_out: Callable[[BuildPlan, Sequence[Slot]], Iterator[Slot]] = build_slots,
) -> None:
    """Builds every slot's parts and the database from them, with a progress bar; skips what exists."""
    if database.exists():
        return
    with task("build", len(plan.slots) + _n_inserts(plan), "steps") as progress:
        for _ in work_out(plan, plan.slots):
            progress.advance()
        write_database(plan, database, progress.advance)


def slot_parts(plan: BuildPlan, slot: Slot) -> list[Path]:
    """The files that `build_slot` writes: `features`, which is written last, and `activations`."""
    return [plan.part(slot, table) for table in _BY_SLOT]


def build_slot(plan: BuildPlan, slot: Slot) -> None:
    """Writes the slot's rows of `activations` and `features` as Parquet parts, unless they exist."""
    features, activations = plan.part(slot, "features"), plan.part(slot, "activations")
    if features.exists():
        return
    with _database(plan, slot.name) as connection:
        connection.execute(build_sql.ranked(plan.shards, slot))
        _copy(connection, "FROM ranked", activations)
        connection.execute(build_sql.LIVE)
        _copy(connection, build_sql.features(plan.widths[slot.layer].n_features), features)


def write_database(plan: BuildPlan, database: Path, advance: Callable[[], None] = lambda: None) -> None:
    """The four tables, from the shards and the slots' parts, each in its own key order."""
    with atomic_write(database) as part, _database(plan, database.name) as connection:
        attach_new(connection, part, "scope")
        connection.execute(f"USE scope; {TABLES}")
        for statement in _inserts(plan):
            connection.execute(statement)
            advance()
        connection.execute("USE memory; DETACH scope")


def _inserts(plan: BuildPlan) -> Iterator[str]:
    ks = [plan.widths[slot.layer].k for slot in plan.slots]
    for shards in plan.shard_groups():
        yield build_sql.insert_images(shards)
        yield build_sql.insert_codes(shards, plan.slots, ks)
    for slot in plan.slots:
        for table in _BY_SLOT:
            yield build_sql.insert_slot(table, slot, plan.part(slot, table))


def _n_inserts(plan: BuildPlan) -> int:
    return 2 * len(list(plan.shard_groups())) + len(_BY_SLOT) * len(plan.slots)


@contextmanager
def _database(plan: BuildPlan, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Raises `ScopeviewError` for any DuckDB error: no disk space, no memory, a damaged shard."""
    try:
        with interruptible(), _connect(plan) as connection:
            yield connection
    except duckdb.Error as error:
        raise ScopeviewError(
            f"building {name} failed: {error}. Encoded shards are kept: run the same command again to resume"
        ) from error


def _connect(plan: BuildPlan) -> duckdb.DuckDBPyConnection:
    """A connection with a bound on memory, and one on the files beside the index that it spills to."""
    spill = plan.work_dir / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(spill).free
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": duckdb_path(spill),
        "max_temp_directory_size": f"{int(free_bytes * _SPILL_PART)}B",
    }
    if plan.memory_limit is not None:
        config["memory_limit"] = plan.memory_limit
    connection = duckdb.connect(":memory:", config=config)
    if plan.memory_limit is None:
        ((n_bytes,),) = connection.execute(_AT_MOST_DEFAULT).fetchall()
        connection.execute(f"SET memory_limit = '{n_bytes}B'")
    return connection


def memory_bytes(plan: BuildPlan) -> int:
    """The memory that DuckDB may use for one slot."""
    amount = plan.memory_limit or DEFAULT_MEMORY_LIMIT
    with duckdb.connect() as connection:
        ((n_bytes,),) = connection.execute("SELECT parse_formatted_bytes($1)", [amount]).fetchall()
    return int(n_bytes)


_AT_MOST_DEFAULT = f"""
SELECT least(parse_formatted_bytes(current_setting('memory_limit')),
  parse_formatted_bytes('{DEFAULT_MEMORY_LIMIT}'))
"""


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Writes a query's rows as Parquet, at zstd level 1: each part is read only once."""
    with atomic_write(path) as part:
        connection.execute(
            f"COPY ({query}) TO {quoted(part)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
        )
