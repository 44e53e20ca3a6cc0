"""The SQL statements of the build. Knows the columns of shards, parts and tables; runs nothing.

`ranked` holds one slot's activations above zero in the order of the index: by feature, then by rank. All
statistics of a feature are computed from it, and its first rows are the feature's top images.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from scopeview.slots import Slot
from scopeview.store.duckdb_paths import quoted
from scopeview.store.files import codes_file

TOP_N = 20
N_BINS = 32
"""A power of two below 2**29, so that each edge max * i / n is exact and no value falls into a wrong bin."""


class ShardPart(NamedTuple):
    """A shard with at least one kept image."""

    number: int
    folder: Path
    first_image: int  # the image id of its row 0


def ranked(shards: Sequence[ShardPart], slot: Slot) -> str:
    """Makes `ranked`: (feature, activation, image_id, position) of every pair above zero."""
    return f"""
    CREATE TEMP TABLE ranked AS SELECT feature, activation, image_id, position FROM (
      {_pairs(shards, slot) if shards else _NO_PAIRS}
    ) WHERE activation > 0 ORDER BY feature, activation DESC, image_id
    """


def _pairs(shards: Sequence[ShardPart], slot: Slot) -> str:
    return f"""
    SELECT unnest(features) AS feature, unnest(activations) AS activation, unnest(positions) AS position,
      {_image_id(shards)} AS image_id
    FROM {_read(codes_file(shard.folder, slot) for shard in shards)}
    """


_NO_PAIRS = (
    "SELECT NULL::INTEGER AS feature, NULL::FLOAT AS activation, NULL::INTEGER AS image_id,"
    " NULL::SMALLINT AS position"
)

LIVE = """
CREATE TEMP TABLE live AS SELECT *, (sum(n_active) OVER (ORDER BY feature) - n_active)::BIGINT AS first_row
FROM (
  SELECT feature, count(*)::INTEGER AS n_active, sum(activation::DECIMAL(38, 15))::DOUBLE AS sum,
    max(activation) AS max
  FROM ranked GROUP BY feature
)
"""
"""Makes `live`: the features that fire, and where their rows begin in `ranked`.

The sum is taken in fixed point (1e-15), so that it does not depend on the order in which threads add.
"""


def features(n_features: int) -> str:
    """The slot's rows of `features`, dead ones too, from `ranked` and `live`."""
    histogram = ", ".join(f"coalesce(max(n) FILTER (bin = {i}), 0)" for i in range(N_BINS))
    return f"""
    WITH tops AS (
      SELECT feature, list({{
        image: image_id, value: activation, position: position}} ORDER BY ranked.rowid) AS top
      FROM ranked JOIN live USING (feature) WHERE ranked.rowid < first_row + {TOP_N} GROUP BY feature
    ), binned AS (
      SELECT feature, ceil(activation::DOUBLE * {N_BINS} / max::DOUBLE)::INTEGER - 1 AS bin, count(*) AS n
      FROM ranked JOIN live USING (feature) GROUP BY ALL
    ), histograms AS (
      SELECT feature, [{histogram}]::INTEGER[] AS histogram FROM binned GROUP BY feature
    )
    SELECT every.feature::INTEGER AS feature, coalesce(n_active, 0) AS n_active, coalesce(sum, 0) AS sum, max,
      coalesce(histogram, []) AS histogram,
      coalesce([one.image for one in top], []) AS top_images,
      coalesce([one.value for one in top], []) AS top_values,
      coalesce([one.position for one in top], []) AS top_positions
    FROM range({n_features}) AS every(feature)
      LEFT JOIN live USING (feature) LEFT JOIN histograms USING (feature) LEFT JOIN tops USING (feature)
    ORDER BY feature
    """


def insert_images(shards: Sequence[ShardPart]) -> str:
    columns = "key, caption, source_url, label, width, height, sha256, punsafe, pwatermark"
    numbers = [shard.number for shard in shards]
    return f"""
    INSERT INTO images
    SELECT {_image_id(shards)} AS image_id, {_by_file(numbers)} AS shard, shard_row, {columns}
    FROM {_read(shard.folder / "images.parquet" for shard in shards)} ORDER BY image_id
    """


def insert_codes(shards: Sequence[ShardPart], slots: Sequence[Slot], ks: Sequence[int | None]) -> str:
    """Inserts these shards' rows of `codes`, by image and slot; for a slot with a k, only the k strongest."""
    every = " UNION ALL ".join(
        f"""
        SELECT {_image_id(shards)} AS image_id, '{slot.layer}' AS layer, '{slot.token}' AS token,
          len(list_filter(activations, lambda a: a > 0))::INTEGER AS n_active, features{_cut(k)} AS features,
          activations{_cut(k)} AS activations, positions{_cut(k)} AS positions, {order} AS slot_order
        FROM {_read(codes_file(shard.folder, slot) for shard in shards)}
        """
        for order, (slot, k) in enumerate(zip(slots, ks, strict=True))
    )
    return f"INSERT INTO codes SELECT * EXCLUDE (slot_order) FROM ({every}) ORDER BY image_id, slot_order"


def insert_slot(table: str, slot: Slot, part: Path) -> str:
    return f"INSERT INTO {table} SELECT '{slot.layer}', '{slot.token}', * FROM read_parquet({quoted(part)})"


def _cut(k: int | None) -> str:
    return "" if k is None else f"[:{k}]"


def _read(files: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(map(quoted, files))}])"


def _image_id(shards: Sequence[ShardPart]) -> str:
    return f"(shard_row + {_by_file([shard.first_image for shard in shards])})::INTEGER"


def _by_file(values: Sequence[int]) -> str:
    """SQL for the one of `values` that belongs to the file a row was read from."""
    return f"{list(values)}[file_index::BIGINT + 1]"
