"""The databases' rows of one feature at one token, as one blob that is read in microseconds.

It holds only the feature's top images, and examples by interval. A query takes a millisecond or more whatever
it asks, most of it unpacking lists of other features. The blobs of a slot are a pack, by feature; the
describe stage writes them beside its database, which holds the same data. An index without them is read from
the databases.

A blob holds the number of values of each of `SECTIONS` as 16-bit numbers, then the values, section by
section, all little-endian. A single value that is NULL has no values; nor has an empty list.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from scopeview.errors import DamagedError, IndexFormatError
from scopeview.slots import Layer, Slot
from scopeview.store.pack import Pack, offsets_path
from scopeview.store.records import NEIGHBOR_KINDS, Neighbor

SECTIONS = {
    "n_active": "i",
    "sum": "d",
    "max": "f",
    "histogram": "i",
    "top_images": "i",
    "top_values": "f",
    "top_positions": "h",
    "names": "B",  # UTF-8, one a line
    "name_scores": "f",
    "clarity": "f",
    "label_entropy": "f",
    "folds": "b",
    "x": "f",
    "y": "f",
    "positions": "i",
    "at_cls": "i",
    "selectivity": "f",
    "in_interval": "i",  # images in each interval, the highest first
    "sample_images": "i",  # those shown of each, one interval after the other
    "sample_values": "f",
    "sample_positions": "h",
    "near_kind": "B",  # of each list of neighbors: its kind's place in `NEIGHBOR_KINDS`
    "near_layer": "B",  # its layer's place in the manifest
    "near_n": "B",  # how many it has
    "near_feature": "i",
    "near_score": "f",
}
"""The type code (as in `struct`) of each section's values, by section. Named after the database's columns."""

FORMAT = 2
"""Packs of another format are ignored, as if they did not exist."""

_PLACES = {name: place for place, name in enumerate(SECTIONS)}
_KINDS = list(SECTIONS.values())
_SIZES = [struct.calcsize(f"<{kind}") for kind in _KINDS]
_HEAD = struct.Struct(f"<{len(SECTIONS)}H")


class FeatureStatistics(NamedTuple):
    """A row of the table `features`."""

    n_active: int
    sum: float
    max: float | None
    histogram: list[int]
    top_images: list[int]
    top_values: list[float]
    top_positions: list[int] | None


class Described(NamedTuple):
    """A row of the table `described.features`."""

    names: list[str]
    name_scores: list[float]
    clarity: float | None
    label_entropy: float | None
    folds: list[int]
    x: float | None
    y: float | None


class Placed(NamedTuple):
    """A row of the table `described.places`."""

    positions: list[int] | None = None
    at_cls: int | None = None
    selectivity: float | None = None


class Sampled(NamedTuple):
    """Examples from the table `activations` by interval, the highest first; see `examples.sampled`."""

    n_images: list[int]  # in each interval
    image_ids: list[int]  # of those shown, one interval after the other
    activations: list[float]
    positions: list[int] | None


class FeatureRow:
    """One blob, whose parts are unpacked on request."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._counts = _HEAD.unpack_from(blob)
        sizes = [n * size for n, size in zip(self._counts, _SIZES, strict=True)]
        self._starts = list(accumulate(sizes, initial=_HEAD.size))

    def figures(self) -> FeatureStatistics:
        return FeatureStatistics(
            n_active=self._one("n_active"),
            sum=self._one("sum"),
            max=self._one("max"),
            histogram=self._list("histogram"),
            top_images=self._list("top_images"),
            top_values=self._list("top_values"),
            top_positions=self._list("top_positions") or None,
        )

    def described(self) -> Described:
        """The feature's described values; all empty or None for a feature that never fires."""
        words = bytes(self._list("names")).decode()
        return Described(
            names=words.split("\n") if words else [],
            name_scores=self._list("name_scores"),
            clarity=self._one("clarity"),
            label_entropy=self._one("label_entropy"),
            folds=self._list("folds"),
            x=self._one("x"),
            y=self._one("y"),
        )

    def placed(self) -> Placed:
        return Placed(self._list("positions") or None, self._one("at_cls"), self._one("selectivity"))

    def sampled(self) -> Sampled:
        return Sampled(
            self._list("in_interval"),
            self._list("sample_images"),
            self._list("sample_values"),
            self._list("sample_positions") or None,
        )

    def neighbors(self, layers: Sequence[Layer]) -> list[Neighbor]:
        """The neighbors by kind, then by layer in the index's order, which is `layers`, then by rank."""
        near = iter(zip(self._list("near_feature"), self._list("near_score"), strict=True))
        lists = zip(self._list("near_kind"), self._list("near_layer"), self._list("near_n"), strict=True)
        return [
            Neighbor(NEIGHBOR_KINDS[kind], layers[layer], *next(near))
            for kind, layer, n in lists
            for _ in range(n)
        ]

    def _list(self, name: str) -> list[Any]:
        at = _PLACES[name]
        return list(struct.unpack_from(f"<{self._counts[at]}{_KINDS[at]}", self._blob, self._starts[at]))

    def _one(self, name: str) -> Any:
        return next(iter(self._list(name)), None)


def packed(values: Mapping[str, bytes]) -> bytes:
    """Packs the bytes of sections into a blob; absent sections have no values."""
    parts = [values.get(name, b"") for name in SECTIONS]
    counts = [len(part) // size for part, size in zip(parts, _SIZES, strict=True)]
    return b"".join([_HEAD.pack(*counts), *parts])


class SlotRows:
    """The blobs of one slot. Safe to share between threads."""

    def __init__(self, path: Path, open_pack: Callable[[Path], Pack] = Pack) -> None:
        try:
            self._pack = open_pack(path)
        except IndexFormatError as error:
            raise DamagedError(
                f"{path} is damaged; remove {path.parent}, and 'scopeview describe' makes it again"
            ) from error

    def row(self, feature: int) -> FeatureRow | None:
        """The feature's row; None if the database has no such feature. Raises `DamagedError`."""
        blob = self._pack.read(feature)
        return FeatureRow(blob) if blob else None

    def close(self) -> None:
        self._pack.close()


def rows_dir(index_dir: Path, database: str) -> Path:
    """The folder of an index's rows, named after their format and the database of descriptions."""
    return index_dir / f"rows-{FORMAT}-{Path(database).stem.removeprefix('described-')}"


def slot_rows(index_dir: Path, database: str, slot: Slot) -> Path:
    return rows_dir(index_dir, database) / f"{slot.name}.pack"


def open_rows(
    index_dir: Path, database: str, slots: Sequence[Slot], open_pack: Callable[[Path], Pack] = Pack
) -> dict[Slot, SlotRows]:
    """Opens the rows of all slots that have them. Raises `DamagedError` if they are damaged."""
    paths = {slot: slot_rows(index_dir, database, slot) for slot in slots}
    return {slot: SlotRows(path, open_pack) for slot, path in paths.items() if offsets_path(path).is_file()}
