"""An index folder, opened: its manifest, its database and its packs, and which slots it has."""

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
"""The rows of one slot; `slot_values` has the parameters."""

_Opened = TypeVar("_Opened", bound="IndexFolder")


class Run(NamedTuple):
    """Rows of `activations` that follow each other."""

    first: int
    n: int
    highest: float  # the activation in the first of them


class IndexFolder:
    """A finished index, open for reading. Close it, or use it as a context manager."""

    _reads_rows = True  # instead of asking the databases the same
    on_damage: Callable[[DamagedError], None] = staticmethod(lambda error: log.error("%s", error))
    """Told of damage that an answer does without, since it has the same from elsewhere."""

    _memory_mb: int | None = None  # of the database; a server sets a bound, so that its memory has one

    def __init__(self, index_dir: Path, manifest: Manifest | None = None) -> None:
        """Reads the folder's manifest unless one is given, as the indexer does before it writes its own.

        Raises `IndexFormatError` when the folder is no finished index, or a file that is needed is damaged.
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
        self._pack.cache_clear()
        for rows in self._feature_rows.values():
            rows.close()
        self._feature_rows = {}
        self._database.close()

    def sql(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of any read-only query, with `$name` parameters."""
        return self._database.rows(sql, values)

    def columns(
        self, sql: str, values: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """The same by column; one with NULLs is a masked array."""
        return self._database.columns(sql, values)

    def table(self, sql: str, values: dict[str, Any] | None = None) -> Any:
        """The same as a `pyarrow.Table`."""
        return self._database.table(sql, values)

    def slot(self, layer: str | SupportsIndex, token: str | SupportsIndex) -> Slot:
        """That slot of this index. Raises `NotFoundError` naming the layers or tokens that there are."""
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
        """Has the describe stage been through this index?"""
        return self.manifest.describe is not None

    def _check_feature(self, slot: Slot, feature: int) -> None:
        """Raises `NotFoundError` for one that the layer does not have."""
        n_features = self._n_features(slot)
        if not 0 <= feature < n_features:
            raise NotFoundError(f"layer {slot.layer} has no feature {feature}; it has 0 to {n_features - 1}")

    def _open_pack(self, path: Path) -> Pack:
        """Raises `DamagedError` for one of another index that has taken the place of this one, too."""
        for part in (offsets_path(path), checksums_path(path)):
            if self.files.expects(part):
                self.files.check(part)
        self.files.check_size(path)
        return Pack(path)

    def _row(self, slot: Slot, feature: int) -> FeatureRow | None:
        """The feature's row; None if the databases have to be queried."""
        rows = self._feature_rows.get(slot)
        try:
            return rows.row(feature) if rows is not None else None
        except DamagedError as error:
            self.on_damage(error)
            return None

    def _run(self, slot: Slot, feature: int) -> Run | None:  # noqa: ARG002
        """Where a feature's activations lie; None where that is not known yet."""
        return None

    def _n_features(self, slot: Slot) -> int:
        record = self.manifest.layer(slot.layer)
        return record.n_features if record else 0


def slot_values(slot: Slot) -> dict[str, Any]:
    return {"layer": str(slot.layer), "token": slot.token}


def within(numbers: Iterable[SupportsIndex], end: int) -> list[int]:
    """Those that can be in the database, each once: others would not even fit its columns."""
    return [number for number in dict.fromkeys(map(operator.index, numbers)) if 0 <= number < end]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
