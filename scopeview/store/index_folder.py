"""An open index folder: its manifest, its databases, its packs and its slots."""

import logging
import operator
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, TypeVar

import numpy as np

from scopeview.errors import DamagedError, NotFoundError
from scopeview.slots import Slot, parse_layer, parse_token
from scopeview.store.checksums import IndexFiles, UnfinishedFiles
from scopeview.store.database import Database
from scopeview.store.feature_rows import FeatureRow, SlotRows, open_rows
from scopeview.store.manifest import Manifest, read_manifest
from scopeview.store.pack import Pack, checksums_path, offsets_path

log = logging.getLogger("scopeview.store")

_PACKS_OPEN = 64
IN_SLOT = "layer = $layer AND token = $token"
"""The SQL condition for the rows of one slot; `slot_values` has its parameters."""

_Opened = TypeVar("_Opened", bound="IndexFolder")


class Run(NamedTuple):
    """Consecutive rows of `activations`: the number of the first row, and how many."""

    first: int
    n: int
    highest: float  # the activation in the first of them


class IndexFolder:
    """A finished index, open for reading. Close it, or use it as a context manager."""

    _reads_rows = True  # instead of asking the databases the same
    on_damage: Callable[[DamagedError], None] = staticmethod(lambda error: log.error("%s", error))
    """Called with damage that does not stop an answer, since the same data is read from elsewhere."""

    _memory_mb: int | None = None  # of the database; a server sets a bound, so that its memory has one

    def __init__(self, index_dir: Path, manifest: Manifest | None = None) -> None:
        """Opens the folder by its manifest, or by a given one, as the indexer does before writing its own.

        Raises `IndexFormatError` if the folder is not a finished index, or if a required file is damaged.
        """
        self.index_dir = index_dir
        self.manifest: Manifest = manifest or read_manifest(index_dir)
        self.files: IndexFiles | UnfinishedFiles = UnfinishedFiles()
        if manifest is None:
            self.files = IndexFiles(index_dir, self.manifest)
            self.files.check_at_start()
        describe = self.manifest.describe
        self._database = Database(
            index_dir / self.manifest.database,
            index_dir / describe.database if describe else None,
            memory_mb=self._memory_mb,
        )
        self._pack = lru_cache(maxsize=_PACKS_OPEN)(self._open_pack)
        # All at once: described again, an index has others, and who has these open goes on with them.
        self._feature_rows: dict[Slot, SlotRows] = {}
        if describe and self._reads_rows:
            self._feature_rows = open_rows(index_dir, describe.database, self.manifest.slots, self._open_pack)

    def __enter__(self: _Opened) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files of the index; nothing can be read from it afterwards."""
        self._pack.cache_clear()
        for rows in self._feature_rows.values():
            rows.close()
        self._feature_rows = {}
        self._database.close()

    def sql(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Returns the rows of any read-only query with `$name` parameters."""
        return self._database.rows(sql, values)

    def columns(
        self, sql: str, values: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Returns the result of a read-only query by column; a column with NULLs is a masked array."""
        return self._database.columns(sql, values)

    def table(self, sql: str, values: dict[str, Any] | None = None) -> Any:
        """Returns the result of a read-only query as a `pyarrow.Table`."""
        return self._database.table(sql, values)

    def slot(self, layer: str | SupportsIndex, token: str | SupportsIndex) -> Slot:
        """Returns this slot of the index. Raises `NotFoundError` naming the layers or tokens of the index."""
        wanted = Slot(parse_layer(str(layer)), parse_token(str(token)))
        if wanted in self.manifest.slots:
            return wanted
        layers = list(dict.fromkeys(slot.layer for slot in self.manifest.slots))
        if wanted.layer not in layers:
            raise NotFoundError(f"{self.manifest.slug} has no layer {wanted.layer}; it has {_listed(layers)}")
        tokens = [slot.token for slot in self.manifest.slots if slot.layer == wanted.layer]
        raise NotFoundError(f"layer {wanted.layer} has no token {wanted.token!r}; it has {_listed(tokens)}")

    @property
    def is_described(self) -> bool:
        """True if the index has the results of the describe stage."""
        return self.manifest.describe is not None

    def _check_feature(self, slot: Slot, feature: int) -> None:
        """Raises `NotFoundError` for a feature that the layer does not have."""
        n_features = self._n_features(slot)
        if not 0 <= feature < n_features:
            raise NotFoundError(f"layer {slot.layer} has no feature {feature}; it has 0 to {n_features - 1}")

    def _open_pack(self, path: Path) -> Pack:
        """Opens a pack. Raises `DamagedError` if it is damaged, or has been replaced by another index's."""
        for part in (offsets_path(path), checksums_path(path)):
            if self.files.expects(part):
                self.files.check(part)
        self.files.check_size(path)
        return Pack(path)

    def _row(self, slot: Slot, feature: int) -> FeatureRow | None:
        """The feature's stored row; None if the databases have to be queried instead."""
        rows = self._feature_rows.get(slot)
        try:
            return rows.row(feature) if rows is not None else None
        except DamagedError as error:
            self.on_damage(error)
            return None

    def _run(self, slot: Slot, feature: int) -> Run | None:  # noqa: ARG002
        """The location of a feature's rows in `activations`; None if it is not known yet."""
        return None

    def _n_features(self, slot: Slot) -> int:
        record = self.manifest.layer(slot.layer)
        return record.n_features if record else 0


def slot_values(slot: Slot) -> dict[str, Any]:
    return {"layer": str(slot.layer), "token": slot.token}


def within(numbers: Iterable[SupportsIndex], end: int) -> list[int]:
    """The distinct numbers from 0 to `end` - 1, in order; others may not even fit the columns."""
    return [number for number in dict.fromkeys(map(operator.index, numbers)) if 0 <= number < end]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
