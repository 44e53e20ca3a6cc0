"""One image's whole code at `any`, from its shard: the tables list its k strongest features alone."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scopeview.store.files import LOCAL
from scopeview.store.records import ActiveFeature, Code

_COLUMNS = ["features", "activations", "positions"]


def whole_code(path: Path, shard_row: int, listed: Code) -> Code | None:
    """`listed` with everything that fires; None where the shard does not say so, or says something else."""
    try:
        features, values, positions = _read(path, shard_row)
    except (OSError, pa.ArrowException, LookupError, ValueError):
        return None
    order = np.lexsort((features, -values))
    rows = zip(features[order].tolist(), values[order].tolist(), positions[order].tolist(), strict=True)
    active = [ActiveFeature(*row) for row in rows if row[1] > 0]
    firing = [each for each in listed.features if each.activation > 0]
    if len(active) != listed.n_active or active[: len(firing)] != firing:
        return None
    return Code(listed.layer, listed.token, listed.n_active, active)


def _read(path: Path, shard_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with pq.ParquetFile(path, filesystem=LOCAL) as file:
        row = shard_row
        for group in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(group).num_rows
            if row < n_rows:
                found = file.read_row_group(group, columns=_COLUMNS, use_threads=False).slice(row, 1)
                features, values, positions = (
                    found.column(name).combine_chunks().flatten().to_numpy() for name in _COLUMNS
                )
                return features, values, positions
            row -= n_rows
    raise LookupError(f"{path} has no row {shard_row}")
