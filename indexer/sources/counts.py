"""How many samples a tar must hold, by what lies beside it: img2dataset's `_stats.json`, else its table."""

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from indexer.sources.layout import stats_of, table_of
from indexer.sources.sample import MAX_METADATA_BYTES

_STATUS = "status"


class Expected(NamedTuple):
    """What a file beside a tar says."""

    file: str
    n_samples: int | None
    """None where it does not say it."""
    is_exact: bool = True
    """A table without a status may list images that were never fetched: it counts for a damaged tar only."""


def count_file(tar: Path) -> Path | None:
    """The file that counts the samples of `tar`."""
    for name in (stats_of(tar.name), table_of(tar.name)):
        if (tar.parent / name).is_file():
            return tar.parent / name
    return None


def expected_samples(tar: Path) -> Expected | None:
    path = count_file(tar)
    if path is None:
        return None
    if path.name == stats_of(tar.name):
        return Expected(path.name, _successes(path))
    return _rows(path)


def _successes(path: Path) -> int | None:
    try:
        with path.open("rb") as file:
            stats = json.loads(file.read(MAX_METADATA_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    successes = stats.get("successes") if isinstance(stats, dict) else None
    return successes if isinstance(successes, int) else None


def _rows(path: Path) -> Expected | None:
    """img2dataset lists failures too, and says so in `status`. None where the table cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            if _STATUS not in file.schema_arrow.names:
                return Expected(path.name, file.metadata.num_rows, is_exact=False)
            status = file.read([_STATUS]).column(_STATUS).cast(pa.string())
            return Expected(path.name, pc.sum(pc.equal(status, "success")).as_py() or 0)
    except (pa.ArrowException, OSError, ValueError):
        return None
