"""Questions to a finished index: one method a question, every query parameterised and bounded.

Knows nothing of HTTP, pages or models. One `IndexReader` may be shared by any number of threads.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from scopeview.errors import IndexFormatError, NotFoundError
from scopeview.slots import Layer, Slot, parse_layer, parse_token
from scopeview.store.files import grid_pack, shard_dir
from scopeview.store.manifest import Manifest, read_manifest
from scopeview.store.pack import Pack
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    ActiveFeature,
    Code,
    FeatureCard,
    FeatureRecord,
    Gallery,
    Histogram,
    ImageRecord,
    ImageRow,
    SlotSummary,
    Sort,
    TopImage,
)
from scopeview.store.schema import IMAGE_COLUMNS

_ORDER: dict[Sort, str] = {
    "feature": "feature",
    "density": "n_active DESC, feature",
    "max": "max DESC NULLS LAST, feature",
    "random": "hash(feature + $seed), feature",
}
_IN_SLOT = "layer = $layer AND token = $token"
_PACKS_OPEN = 64


class IndexReader:
    """A finished index, open for reading. Close it, or use it as a context manager."""

    def __init__(self, index_dir: Path, manifest: Manifest | None = None) -> None:
        """Reads the folder's manifest unless one is given, as the indexer does before it writes its own.

        Raises `IndexFormatError` when the folder is no finished index.
        """
        self.index_dir = index_dir
        self.manifest: Manifest = manifest or read_manifest(index_dir)
        self._connection = _open_database(index_dir / self.manifest.database)
        self._local = threading.local()
        self._pack = lru_cache(maxsize=_PACKS_OPEN)(Pack)

    def __enter__(self) -> "IndexReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    # -- slots ---------------------------------------------------------------------------------------------

    def slot(self, layer: Layer | str, token: str | int) -> Slot:
        """That slot of this index. Raises `NotFoundError` naming the layers or tokens that there are."""
        wanted = Slot(parse_layer(str(layer)), parse_token(token))
        if wanted in self.manifest.slots:
            return wanted
        layers = list(dict.fromkeys(slot.layer for slot in self.manifest.slots))
        if wanted.layer not in layers:
            raise NotFoundError(f"{self.manifest.slug} has no layer {wanted.layer}; it has {_listed(layers)}")
        tokens = [slot.token for slot in self.manifest.slots if slot.layer == wanted.layer]
        raise NotFoundError(f"layer {wanted.layer} has no token {wanted.token!r}; it has {_listed(tokens)}")

    def summary(self, slot: Slot) -> SlotSummary:
        row = self._one(
            "SELECT count(*), count(*) FILTER (n_active > 0), count(*) FILTER (n_active >= $least)"
            f" FROM features WHERE {_IN_SLOT}",
            {**_slot(slot), "least": MIN_GRID_IMAGES},
        )
        return SlotSummary(slot.layer, slot.token, *row)

    # -- features ------------------------------------------------------------------------------------------

    def feature(self, layer: Layer | str, feature: int, token: str | int = "cls") -> FeatureRecord:
        """One feature with its histogram and stored top images. Raises `NotFoundError`."""
        slot = self.slot(layer, token)
        rows = self.sql(
            "SELECT n_active, sum, max, histogram, top_images, top_values, top_positions FROM features"
            f" WHERE {_IN_SLOT} AND feature = $feature LIMIT 1",
            {**_slot(slot), "feature": feature},
        )
        if not rows:
            raise self._no_feature(slot, feature)
        n_active, total, highest, counts, ids, values, positions = rows[0]
        return FeatureRecord(
            layer=slot.layer,
            token=slot.token,
            feature=feature,
            n_images=self.manifest.n_images,
            n_active=n_active,
            max_activation=highest,
            mean_activation=total / n_active if n_active else None,
            histogram=Histogram(_edges(highest, len(counts)), counts),
            top_images=self._ranked(ids, values, positions, first_rank=1),
        )

    def gallery(
        self,
        slot: Slot,
        *,
        sort: Sort = "feature",
        min_images: int = MIN_GRID_IMAGES,
        seed: int = 0,
        limit: int = 48,
        offset: int = 0,
    ) -> Gallery:
        """Features of a slot that fire on at least `min_images` images, in the given order."""
        matching = f"FROM features WHERE {_IN_SLOT} AND n_active >= $least"
        values = {**_slot(slot), "least": min_images}
        seeded = {"seed": seed} if sort == "random" else {}
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] {matching}"
            f" ORDER BY {_ORDER[sort]} LIMIT $limit OFFSET $offset",
            {**values, **seeded, "limit": limit, "offset": offset},
        )
        cards = [
            FeatureCard(slot.layer, slot.token, row[0], self.manifest.n_images, *row[1:]) for row in rows
        ]
        return Gallery(cards, self._one(f"SELECT count(*) {matching}", values)[0])

    def cards(self, slot: Slot, features: Sequence[int]) -> dict[int, FeatureCard]:
        """Cards of the given features, by feature; those that do not exist are absent."""
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] FROM features"
            f" WHERE {_IN_SLOT} AND feature IN (SELECT unnest($features::INTEGER[]))",
            {**_slot(slot), "features": list(features)},
        )
        return {
            row[0]: FeatureCard(slot.layer, slot.token, row[0], self.manifest.n_images, *row[1:])
            for row in rows
        }

    def activating_images(
        self, slot: Slot, feature: int, *, limit: int = 50, offset: int = 0
    ) -> list[TopImage]:
        """Every image on which the feature fires, by rank, past the stored top ones too."""
        rows = self.sql(
            f"SELECT image_id, activation, position FROM activations WHERE {_IN_SLOT} AND feature = $feature"
            " ORDER BY activation DESC, image_id LIMIT $limit OFFSET $offset",
            {**_slot(slot), "feature": feature, "limit": limit, "offset": offset},
        )
        ids, values, positions = zip(*rows, strict=True) if rows else ((), (), ())
        return self._ranked(ids, values, positions, first_rank=offset + 1)

    def live_neighbor(self, slot: Slot, feature: int, *, forward: bool) -> int | None:
        """The nearest feature above (or below) this one that fires on at least one image."""
        pick, beyond = ("min(feature)", ">") if forward else ("max(feature)", "<")
        row = self._one(
            f"SELECT {pick} FROM features WHERE {_IN_SLOT} AND n_active > 0 AND feature {beyond} $feature",
            {**_slot(slot), "feature": feature},
        )
        return row[0] if row[0] is None else int(row[0])

    def random_feature(self, slot: Slot, seed: int) -> int | None:
        """One feature that has a grid, the same for the same seed; None when the slot has none."""
        cards = self.gallery(slot, sort="random", seed=seed, limit=1).cards
        return cards[0].feature if cards else None

    # -- images --------------------------------------------------------------------------------------------

    def image(self, image_id: int) -> ImageRecord:
        """One image with its code at every slot. Raises `NotFoundError`."""
        found = self.image_rows([image_id])
        if not found:
            raise NotFoundError(
                f"{self.manifest.slug} has no image {image_id}; it has 0 to {self.manifest.n_images - 1}"
            )
        rows = self.sql(
            "SELECT layer, token, n_active, features, activations, positions"
            " FROM codes WHERE image_id = $image_id",
            {"image_id": image_id},
        )
        codes = {Slot(parse_layer(row[0]), row[1]): _code(row) for row in rows}
        return ImageRecord(found[image_id], [codes[slot] for slot in self.manifest.slots if slot in codes])

    def images(self, *, limit: int = 100, after: int = -1) -> list[ImageRow]:
        """Images in id order, beginning after the given id."""
        rows = self.sql(
            f"SELECT {IMAGE_COLUMNS} FROM images WHERE image_id > $after ORDER BY image_id LIMIT $limit",
            {"after": after, "limit": limit},
        )
        return [ImageRow(*row) for row in rows]

    def image_rows(self, image_ids: Sequence[int]) -> dict[int, ImageRow]:
        """Those images, by id; ids that do not exist are absent."""
        rows = self.sql(
            f"SELECT {IMAGE_COLUMNS} FROM images WHERE image_id IN (SELECT unnest($ids::INTEGER[]))",
            {"ids": list(image_ids)},
        )
        return {row[0]: ImageRow(*row) for row in rows}

    def embeddings(self) -> np.ndarray[Any, np.dtype[np.float16]]:
        """The final projected CLIP embedding of every image, (n_images, projection_dim), by image id."""
        n_shards = self._one("SELECT coalesce(max(shard) + 1, 0) FROM images")[0]
        parts = [np.load(shard_dir(self.index_dir, shard) / "embeddings.npy") for shard in range(n_shards)]
        return (
            np.concatenate(parts) if parts else np.empty((0, self.manifest.model.projection_dim), np.float16)
        )

    # -- pictures ------------------------------------------------------------------------------------------

    def thumb(self, image_id: int) -> bytes:
        """WebP of the square the model saw. Raises `NotFoundError`."""
        rows = self.sql(
            "SELECT shard, shard_row FROM images WHERE image_id = $image_id LIMIT 1", {"image_id": image_id}
        )
        blob = (
            self._pack(shard_dir(self.index_dir, rows[0][0]) / "thumbs.pack").read(rows[0][1])
            if rows
            else None
        )
        if blob is None:
            raise NotFoundError(f"{self.manifest.slug} has no image {image_id}")
        return blob

    def grid(self, slot: Slot, feature: int) -> bytes:
        """WebP of the feature's 3 x 3 grid. Raises `NotFoundError` where it fires on too few images."""
        blob = self._pack(grid_pack(self.index_dir, slot)).read(feature)
        if blob is None:
            raise NotFoundError(
                f"feature {feature} at {slot.name} fires on fewer than {MIN_GRID_IMAGES} images: no grid"
            )
        return blob

    # -- beneath -------------------------------------------------------------------------------------------

    def _ranked(
        self,
        ids: Sequence[int],
        values: Sequence[float],
        positions: Sequence[int | None] | None,
        first_rank: int,
    ) -> list[TopImage]:
        rows = self.image_rows(ids)
        where = positions if positions is not None else [None] * len(ids)
        return [
            TopImage(
                rank=first_rank + i,
                image_id=image_id,
                key=rows[image_id].key,
                activation=value,
                position=position,
                caption=rows[image_id].caption,
                source_url=rows[image_id].source_url,
                punsafe=rows[image_id].punsafe,
            )
            for i, (image_id, value, position) in enumerate(zip(ids, values, where, strict=True))
        ]

    def _no_feature(self, slot: Slot, feature: int) -> NotFoundError:
        record = self.manifest.layer(slot.layer)
        last = record.n_features - 1 if record else 0
        return NotFoundError(f"layer {slot.layer} has no feature {feature}; it has 0 to {last}")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        # A connection shared by threads can answer with another thread's rows; a cursor a thread cannot.
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        cursor: duckdb.DuckDBPyConnection = self._local.cursor
        return cursor

    def sql(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of any read-only query, with `$name` parameters."""
        return self._cursor().execute(sql, values or {}).fetchall()

    def _one(self, sql: str, values: dict[str, Any] | None = None) -> tuple[Any, ...]:
        return self.sql(sql, values)[0]


def _open_database(path: Path) -> duckdb.DuckDBPyConnection:
    if not path.is_file():
        raise IndexFormatError(f"{path} is missing, though the manifest names it; rebuild the index")
    try:
        connection = duckdb.connect(str(path), read_only=True, config={"threads": 1})
        # A read-only database may still read and write other files unless this is shut.
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    except duckdb.Error as error:
        raise IndexFormatError(
            f"{path} is not a readable DuckDB database ({error}); rebuild the index"
        ) from error
    return connection


def _slot(slot: Slot) -> dict[str, Any]:
    return {"layer": str(slot.layer), "token": slot.token}


def _edges(highest: float | None, n_bins: int) -> list[float]:
    return [] if highest is None else [highest * i / n_bins for i in range(n_bins + 1)]


def _code(row: tuple[Any, ...]) -> Code:
    layer, token, n_active, features, activations, positions = row
    where = positions if positions is not None else [None] * len(features)
    active = [ActiveFeature(*triple) for triple in zip(features, activations, where, strict=True)]
    return Code(parse_layer(layer), token, n_active, active)


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
