"""The rows of `scopeview.store.feature_rows`: each feature's data from the databases, gathered once."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, Shaped

from scopeview.slots import ANY, Slot
from scopeview.store.examples import firing_sql, sampled
from scopeview.store.feature_rows import SECTIONS, Sampled, packed, slot_rows
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.pack import PackWriter, offsets_path
from scopeview.store.reader import IndexReader
from scopeview.store.records import NEIGHBOR_KINDS, ActivatingImages

_AT_ONCE = 8192  # features: some 40 MB
_PART = f"feature >= $start AND feature < $start + {_AT_ONCE}"
_NUMPY = {"i": "<i4", "d": "<f8", "f": "<f4", "h": "<i2", "b": "i1", "B": "u1"}
_FIGURES = f"""
SELECT feature, n_active, sum, max, histogram, top_images, top_values, top_positions
FROM features WHERE {IN_SLOT} AND {_PART} ORDER BY feature
"""
_DESCRIBED = f"""
SELECT feature, array_to_string(names, chr(10)) AS names, name_scores, clarity, label_entropy, folds, x, y
FROM described.features WHERE {IN_SLOT} AND {_PART} ORDER BY feature
"""
_PLACED = f"""
SELECT feature, positions, at_cls, selectivity
FROM described.places WHERE layer = $layer AND {_PART} ORDER BY feature
"""
_NEAR = f"""
SELECT feature, list_position($kinds, kind) - 1 AS near_kind,
  list_position($layers, other_layer) - 1 AS near_layer, len(features) AS near_n,
  features AS near_feature, scores AS near_score
FROM described.neighbors WHERE {IN_SLOT} AND {_PART} ORDER BY feature, near_kind, near_layer
"""


def write_rows(reader: IndexReader, slot: Slot) -> None:
    """Writes a pack with one blob per feature, unless it exists; `reader` must be of a described index."""
    describe, layer = reader.manifest.describe, reader.manifest.layer(slot.layer)
    assert describe is not None
    assert layer is not None
    path = slot_rows(reader.index_dir, describe.database, slot)
    if offsets_path(path).exists():
        return
    with PackWriter(path) as pack:
        for start in range(0, layer.n_features, _AT_ONCE):
            for blob in _blobs(reader, slot, start, min(_AT_ONCE, layer.n_features - start)):
                pack.append(blob)


class _Column(NamedTuple):
    """The bytes of one section, and the offsets in them at which the rows of a table begin and end."""

    values: bytes
    offsets: list[int]


class _Table(NamedTuple):
    """Columns by section; for each feature of the part, its first row and the row past its last."""

    columns: dict[str, _Column]
    rows: list[tuple[int, int]]

    def of(self, at: int) -> dict[str, bytes]:
        first, end = self.rows[at]
        return {
            name: column.values[column.offsets[first] : column.offsets[end]]
            for name, column in self.columns.items()
        }


def _blobs(reader: IndexReader, slot: Slot, start: int, n: int) -> Iterator[bytes | None]:
    """The blobs of `n` features from `start` on; None for a feature missing from the database."""
    values = {**slot_values(slot), "start": start}
    orders = {
        "kinds": list(NEIGHBOR_KINDS),
        "layers": [str(record.layer) for record in reader.manifest.layers],
    }
    tables = [_query(reader, _FIGURES, values, n), _query(reader, _DESCRIBED, values, n)]
    tables.append(_query(reader, _NEAR, {**values, **orders}, n))
    if slot.token == ANY:
        tables.append(_query(reader, _PLACED, {"layer": str(slot.layer), "start": start}, n))
    examples = interval_samples(reader, slot, start, _n_active(tables[0]))
    for at, sample in enumerate(examples):
        first, end = tables[0].rows[at]
        sections = {name: part for table in tables for name, part in table.of(at).items()}
        yield packed({**sections, **_sections(sample)}) if end > first else None


def _n_active(figures: _Table) -> Int32[np.ndarray, " feature"]:
    """The number of images per feature of the part; 0 for a feature missing from the database."""
    column = figures.columns["n_active"]
    firsts, ends = np.array(figures.rows).reshape(-1, 2).T
    found = np.append(np.frombuffer(column.values, dtype="<i4"), 0)
    return np.where(ends > firsts, found[firsts], 0).astype(np.int32)


def _sections(sample: Sampled) -> dict[str, bytes]:
    names = ("in_interval", "sample_images", "sample_values", "sample_positions")
    return {
        name: np.asarray(values, dtype=_NUMPY[SECTIONS[name]]).tobytes()
        for name, values in zip(names, sample, strict=True)
        if values is not None
    }


def _query(reader: IndexReader, sql: str, values: dict[str, Any], n: int) -> _Table:
    """The result of a query whose rows are sorted by feature, all among `n` features from `start` on."""
    found = reader.table(sql, values)
    features = found["feature"].to_numpy() - values["start"]
    bounds = np.searchsorted(features, np.arange(n + 1)).tolist()
    columns = {name: _column(name, found[name]) for name in found.column_names if name in SECTIONS}
    return _Table(columns, list(pairwise(bounds)))


def _column(name: str, found: pa.ChunkedArray) -> _Column:
    """The bytes and offsets of one column. NULL gives no values, both as a whole and inside a list."""
    rows, dtype = pa.concat_arrays(found.chunks or [pa.array([], found.type)]), _NUMPY[SECTIONS[name]]
    if pa.types.is_string(rows.type):
        words = [(text or "").encode() for text in rows.to_pylist()]
        return _Column(b"".join(words), _ends([len(word) for word in words]))
    if not pa.types.is_list(rows.type):
        return _Column(_bytes(rows, dtype), _ends(rows.is_valid().to_pylist(), dtype))
    parents = rows.value_parent_indices().filter(rows.flatten().is_valid())
    lengths = np.bincount(parents.to_numpy(zero_copy_only=False), minlength=len(rows))
    return _Column(_bytes(rows.flatten(), dtype), _ends(lengths, dtype))


def _bytes(values: pa.Array, dtype: str) -> bytes:
    known: np.ndarray[Any, np.dtype[Any]] = values.drop_null().to_numpy(zero_copy_only=False)
    return known.astype(dtype).tobytes()


def _ends(lengths: Sequence[int] | Shaped[np.ndarray, " row"], dtype: str = "u1") -> list[int]:
    """The byte offsets at which rows begin and end, given the number of values in each row."""
    ends: list[int] = (np.cumsum([0, *lengths]) * np.dtype(dtype).itemsize).tolist()
    return ends


AT_ONCE = 4_000_000  # rows of `activations`: some 100 MB
_NOTHING = Sampled([], [], [], None)


def interval_samples(
    reader: IndexReader, slot: Slot, start: int, n_active: Int32[np.ndarray, " feature"]
) -> Iterator[Sampled]:
    """Samples of the features from `start` on; each fires on the given number of images."""
    for first, end in spans(n_active.tolist(), AT_ONCE):
        # In the order of the table: by feature, then by rank.
        found = reader.columns(
            f"SELECT feature, {firing_sql(slot)} FROM activations WHERE {IN_SLOT}"
            " AND feature >= $first AND feature < $end",
            {**slot_values(slot), "first": start + first, "end": start + end},
        )
        bounds = np.searchsorted(found["feature"], np.arange(start + first, start + end + 1))
        for low, high in pairwise(bounds.tolist()):
            yield _sampled(found, low, high) if high > low else _NOTHING


def spans(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Splits items of these sizes into parts of at most `most` in sum; a larger item is a part by itself."""
    first, total = 0, 0
    for at, size in enumerate(sizes):
        if at > first and total + size > most:
            yield first, at
            first, total = at, 0
        total += size
    if sizes:
        yield first, len(sizes)


def _sampled(found: dict[str, np.ndarray[Any, np.dtype[Any]]], low: int, high: int) -> Sampled:
    part = {name: column[low:high] for name, column in found.items()}
    return sampled(ActivatingImages(part["image_id"], part["activation"], part.get("position")))
