"""Build: the codes of all shards into one DuckDB database, a slot at a time.

Each slot is worked out on its own and left as two Parquet parts, so that a rerun does only what is missing;
the database is then put together from the parts, in the index's order, and renamed into place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from indexer.shard_output import ShardMarker, codes_file
from scopeview.errors import InputError, ScopeviewError
from scopeview.slots import Layer, Slot
from scopeview.store.files import shard_dir, written_aside
from scopeview.store.interrupt import interruptible
from scopeview.store.schema import TABLES

TOP_N = 20
N_BINS = 32
"""A power of two below 2**29, so that an edge max * i / n is exact and no value falls on its wrong side."""


@dataclass(frozen=True)
class LayerWidth:
    """What build has to know of a layer's SAE."""

    n_features: int
    k: int | None  # None: a ReLU SAE, whose codes are kept whole


def work_dir(index_dir: Path) -> Path:
    """Parts and spill files; to be removed when the index is whole."""
    return index_dir / "build"


def check_memory_limit(memory_limit: str | None) -> None:
    """Raises `InputError` for what DuckDB does not take for an amount of memory."""
    try:
        duckdb.connect(config={} if memory_limit is None else {"memory_limit": memory_limit}).close()
    except duckdb.Error as error:
        raise InputError(
            f"--memory-limit {memory_limit!r} is no amount of memory ({error}); expected such as '8GB'"
        ) from error


@dataclass(frozen=True)
class BuildPlan:
    """Where the shards are and what to make of them."""

    index_dir: Path
    markers: Sequence[ShardMarker]  # by shard number
    slots: Sequence[Slot]
    widths: dict[Layer, LayerWidth]
    memory_limit: str | None = (
        None  # as DuckDB writes it, such as "8GB"; None leaves its default (80 % of RAM)
    )

    @property
    def work_dir(self) -> Path:
        return work_dir(self.index_dir)

    def shards_with_images(self) -> list[tuple[int, Path, int]]:
        """(shard number, its folder, image id of its first image)."""
        found, first_image = [], 0
        for number, marker in enumerate(self.markers):
            if marker.n_images:
                found.append((number, shard_dir(self.index_dir, number), first_image))
            first_image += marker.n_images
        return found

    def part(self, slot: Slot, table: str) -> Path:
        return self.work_dir / f"{slot.name}.{table}.parquet"


def build_slot(plan: BuildPlan, slot: Slot) -> None:
    """Leaves the slot's rows of `activations` and `features` as Parquet parts, unless they are there."""
    features, activations = plan.part(slot, "features"), plan.part(slot, "activations")
    if features.exists():
        return
    with _database(plan, slot.name) as connection:
        connection.execute(f"CREATE TEMP TABLE firing AS {_firing_sql(plan, slot)}")
        _copy(connection, "SELECT * FROM firing ORDER BY feature, activation DESC, image_id", activations)
        _copy(connection, _features_sql(plan.widths[slot.layer].n_features), features)


def write_database(plan: BuildPlan, database: Path) -> None:
    """The four tables, from the shards and the slots' parts, each in its own key order."""
    with written_aside(database) as part, _database(plan, database.name, part) as connection:
        connection.execute(TABLES)
        for shard in plan.shards_with_images():
            connection.execute(_images_sql(*shard))
            connection.execute(_codes_sql(plan, shard))
        for slot in plan.slots:
            named = f"SELECT '{slot.layer}', '{slot.token}', * FROM read_parquet"
            connection.execute(f"INSERT INTO features {named}({_quoted(plan.part(slot, 'features'))})")
            connection.execute(f"INSERT INTO activations {named}({_quoted(plan.part(slot, 'activations'))})")
        connection.execute("CHECKPOINT")


@contextmanager
def _database(plan: BuildPlan, name: str, path: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Raises `ScopeviewError` for whatever DuckDB stumbles over: no disk, no memory, a damaged shard."""
    try:
        with interruptible(), _connect(plan, path) as connection:
            yield connection
    except duckdb.Error as error:
        raise ScopeviewError(
            f"building {name} failed: {error}. What was encoded is kept: the same command goes on from there"
        ) from error


def _connect(plan: BuildPlan, database: Path | None = None) -> duckdb.DuckDBPyConnection:
    spill = plan.work_dir / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(spill)}
    if plan.memory_limit is not None:
        config["memory_limit"] = plan.memory_limit
    return duckdb.connect(str(database) if database else ":memory:", config=config)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    with written_aside(path) as part:
        connection.execute(f"COPY ({query}) TO {_quoted(part)} (FORMAT parquet, COMPRESSION zstd)")


def _firing_sql(plan: BuildPlan, slot: Slot) -> str:
    """(feature, activation, image_id, position) of every pair above zero."""
    parts = [
        f"SELECT unnest(features) AS feature, unnest(activations) AS activation,"
        f" (shard_row + {first_image})::INTEGER AS image_id, unnest(positions) AS position"
        f" FROM read_parquet({_quoted(codes_file(folder, slot))})"
        for _, folder, first_image in plan.shards_with_images()
    ]
    nothing = (
        "SELECT NULL::INTEGER AS feature, NULL::FLOAT AS activation, NULL::INTEGER AS image_id,"
        " NULL::SMALLINT AS position"
    )
    return f"SELECT * FROM ({' UNION ALL '.join([*parts, nothing])}) WHERE activation > 0"


def _features_sql(n_features: int) -> str:
    """One row per feature, dead ones too.

    The sum is taken in fixed point (1e-15), so that it does not depend on the order in which threads add.
    """
    counts = ", ".join(f"count(*) FILTER (bin = {i})" for i in range(N_BINS))
    return f"""
    WITH ranked AS (
      SELECT *, row_number() OVER by_rank AS rank, max(activation) OVER (PARTITION BY feature) AS highest
      FROM firing WINDOW by_rank AS (PARTITION BY feature ORDER BY activation DESC, image_id)
    ), binned AS (
      SELECT *, ceil(activation::DOUBLE * {N_BINS} / highest::DOUBLE)::INTEGER - 1 AS bin FROM ranked
    ), active AS (
      SELECT feature, count(*)::INTEGER AS n_active, sum(activation::DECIMAL(38, 15))::DOUBLE AS sum,
        max(activation) AS max, [{counts}]::INTEGER[] AS histogram,
        list(image_id ORDER BY rank) FILTER (rank <= {TOP_N}) AS top_images,
        list(activation ORDER BY rank) FILTER (rank <= {TOP_N}) AS top_values,
        list(position ORDER BY rank) FILTER (rank <= {TOP_N}) AS top_positions
      FROM binned GROUP BY feature
    )
    SELECT every.feature::INTEGER AS feature, coalesce(n_active, 0) AS n_active, coalesce(sum, 0) AS sum, max,
      coalesce(histogram, []) AS histogram, coalesce(top_images, []) AS top_images,
      coalesce(top_values, []) AS top_values, coalesce(top_positions, []) AS top_positions
    FROM range({n_features}) AS every(feature) LEFT JOIN active USING (feature) ORDER BY feature
    """


def _images_sql(number: int, folder: Path, first_image: int) -> str:
    columns = "key, caption, source_url, label, width, height, sha256, punsafe, pwatermark"
    return (
        f"INSERT INTO images SELECT shard_row + {first_image}, {number}, shard_row, {columns}"
        f" FROM read_parquet({_quoted(folder / 'images.parquet')}) ORDER BY shard_row"
    )


def _codes_sql(plan: BuildPlan, shard: tuple[int, Path, int]) -> str:
    """One shard's rows of `codes`, in order of image and slot; a code at `any` is cut to its k strongest."""
    _, folder, first_image = shard
    parts = []
    for order, slot in enumerate(plan.slots):
        k = plan.widths[slot.layer].k
        kept = "[:]" if k is None else f"[:{k}]"
        parts.append(
            f"SELECT shard_row + {first_image} AS image_id, '{slot.layer}' AS layer, '{slot.token}' AS token,"
            " len(list_filter(activations, lambda a: a > 0))::INTEGER AS n_active,"
            f" features{kept} AS features, activations{kept} AS activations, positions{kept} AS positions,"
            f" {order} AS slot_order"
            f" FROM read_parquet({_quoted(codes_file(folder, slot))})"
        )
    every = " UNION ALL ".join(parts)
    return f"INSERT INTO codes SELECT * EXCLUDE (slot_order) FROM ({every}) ORDER BY image_id, slot_order"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
