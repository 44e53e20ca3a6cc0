"""Finished parts of the descriptions as Parquet files, and the database assembled from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Shaped

from indexer.describe.plan import DescribePlan
from scopeview.errors import ScopeviewError
from scopeview.slots import ANY, Layer, Slot
from scopeview.store.database import interruptible
from scopeview.store.duckdb_paths import attach_new, quoted
from scopeview.store.files import LOCAL, atomic_write
from scopeview.store.schema import DESCRIBED_TABLES


def ragged(
    values: Shaped[np.ndarray, "row rank"], kept: Bool[np.ndarray, "row rank"], kind: pa.DataType
) -> pa.Array:
    """An Arrow array with one list per row, containing only the values that are kept."""
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[kept], kind))


def lists(values: Shaped[np.ndarray, "row rank"], kind: pa.DataType) -> pa.Array:
    """An Arrow array with one list per row."""
    return ragged(values, np.ones(values.shape, bool), kind)


def known(values: Float[np.ndarray, " row"]) -> pa.Array:
    """An Arrow array in which NaN becomes NULL."""
    return pa.array(values, mask=np.isnan(values))


def write_part(path: Path, columns: Mapping[str, Any]) -> None:
    table = pa.table(dict(columns))
    with atomic_write(path) as part:
        pq.write_table(table, part, filesystem=LOCAL, compression="zstd")


def write_database(plan: DescribePlan) -> None:
    """Writes all parts into the tables of `schema.DESCRIBED_TABLES`, each in its key order."""
    try:
        with atomic_write(plan.database) as part, interruptible(), duckdb.connect(":memory:") as connection:
            attach_new(connection, part, "described")
            connection.execute(DESCRIBED_TABLES)
            for slot in plan.slots:
                connection.execute(_features_sql(plan, slot))
                connection.execute(_neighbors_sql(plan, slot))
            for layer in layers_with_any(plan):
                places = _rows(plan.part(f"{layer}.places"))
                connection.execute(
                    f"INSERT INTO described.places SELECT '{layer}', * FROM {places} ORDER BY feature"
                )
            for name in ("words", "means"):
                connection.execute(f"INSERT INTO described.{name} SELECT * FROM {_rows(plan.part(name))}")
            connection.execute("DETACH described")
    except duckdb.Error as error:
        raise ScopeviewError(
            f"assembling {plan.database.name} failed: {error}. Finished parts are kept: run the same command"
            " again to resume"
        ) from error


def layers_with_any(plan: DescribePlan) -> list[Layer]:
    return [slot.layer for slot in plan.at_token(ANY)]


def _features_sql(plan: DescribePlan, slot: Slot) -> str:
    tops, names, laid_out = (_rows(plan.part(f"{slot.name}.{part}")) for part in ("tops", "names", "map"))
    places = (
        _rows(plan.part(f"{slot.layer}.places"))
        if slot.layer in layers_with_any(plan)
        else "(SELECT NULL::INTEGER AS feature, NULL::FLOAT AS selectivity)"
    )
    return f"""
    INSERT INTO described.features
    SELECT '{slot.layer}', '{slot.token}', feature, coalesce(names, []), coalesce(name_scores, []),
      clarity, label_entropy, selectivity, folds, x, y
    FROM {tops} AS tops LEFT JOIN {names} AS names USING (feature) LEFT JOIN {laid_out} AS map USING (feature)
      LEFT JOIN {places} AS places USING (feature)
    ORDER BY feature
    """


def _neighbors_sql(plan: DescribePlan, slot: Slot) -> str:
    return (
        f"INSERT INTO described.neighbors SELECT '{slot.layer}', '{slot.token}', * FROM"
        f" {_rows(plan.part(f'{slot.name}.neighbors'))} ORDER BY feature, kind, other_layer"
    )


def _rows(path: Path) -> str:
    return f"read_parquet({quoted(path)})"
