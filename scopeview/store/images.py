"""Queries for the images of an index: their metadata, their codes, their thumbnails."""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float16

from scopeview.errors import DamagedError, NotFoundError
from scopeview.slots import Slot, parse_layer
from scopeview.store.files import LOCAL, codes_file, shard_dir
from scopeview.store.index_folder import IndexFolder, within
from scopeview.store.pack import Pack, open_npy
from scopeview.store.records import ActiveFeature, Code, ImageRecord, ImageRow
from scopeview.store.schema import SHOWN_COLUMNS

log = logging.getLogger("scopeview.store")

_WHOLE_CODES_KEPT = 64  # some 10 KB each
_CODES = "SELECT image_id, layer, token, n_active, features, activations, positions FROM codes"
_CODE_COLUMNS = ["features", "activations", "positions"]

ALL_ROWS = f"SELECT {SHOWN_COLUMNS} FROM images ORDER BY image_id"
MAX_ROWS_IN_MEMORY = 4_000_000
"""An index with more images than this is queried instead of being kept in memory."""


class ImageRows:
    """The rows of `images` in memory, by image id; ids count from 0 without gaps.

    A server needs twenty random images at a time; DuckDB unpacks a whole block for each of them, which takes
    milliseconds. Half a million rows take about 70 MB.
    """

    def __init__(self, table: Any) -> None:
        """`table` is the result of `ALL_ROWS` as a `pyarrow.Table`."""
        (self._rows,) = table.combine_chunks().to_batches() or [None]

    def __len__(self) -> int:
        return 0 if self._rows is None else int(self._rows.num_rows)

    def rows(self, image_ids: Sequence[int]) -> list[ImageRow]:
        """The rows in the order of the ids. Column by column, since value by value is ten times slower."""
        if not image_ids:
            return []
        found = self._rows.take(pa.array(image_ids, pa.int64()))
        columns = [column.to_pylist() for column in found.columns]
        return [ImageRow(*row) for row in zip(*columns, strict=True)]


class ImageReader(IndexFolder):
    """The part of `IndexReader` that reads images."""

    _rows: ImageRows | None = None

    def image(self, image_id: SupportsIndex) -> ImageRecord:
        """Returns an image with its code at every slot. Raises `NotFoundError`."""
        found = self.image_rows([image_id])
        if not found:
            raise self._no_image(image_id)
        codes = self.codes(image_id)
        (row,) = found.values()
        return ImageRecord(row, [codes[slot] for slot in self.manifest.slots if slot in codes])

    def codes(self, image_id: SupportsIndex) -> dict[Slot, Code]:
        """Returns an image's code at every slot; an empty dict for an unknown image."""
        return {
            Slot(code.layer, code.token): code
            for number in within([image_id], self.manifest.n_images)
            for code in map(_code, self._code_rows(number))
        }

    def whole_code(self, image_id: int, slot: Slot) -> Code | None:
        """Returns everything that fires on an image at `any`; `codes` has only the top k. None if unknown."""
        return self._whole_codes(image_id, slot)

    @cached_property
    def _whole_codes(self) -> Callable[[int, Slot], Code | None]:
        return lru_cache(maxsize=_WHOLE_CODES_KEPT)(self._read_whole_code)

    def _read_whole_code(self, image_id: int, slot: Slot) -> Code | None:
        listed = self.codes(image_id).get(slot)
        if listed is None:
            return None
        shard, shard_row = self._place(image_id)
        path = codes_file(shard_dir(self.index_dir, shard), slot)
        try:
            self.files.check(path)
        except DamagedError as error:
            log.warning("pages about an image show its %d strongest: %s", len(listed.features), error)
            return None
        return whole_code(path, shard_row, listed)

    def _code_rows(self, image_id: int) -> list[tuple[Any, ...]]:
        # They lie in order of images, one a slot, so it is known where these are, unless some are missing.
        # Asked so, DuckDB goes there at once; a search takes it a third longer.
        n_slots = len(self.manifest.slots)
        rows = self.sql(f"{_CODES} WHERE rowid >= $row LIMIT {n_slots}", {"row": image_id * n_slots})
        if [row[0] for row in rows] == [image_id] * n_slots:
            return rows
        return self.sql(f"{_CODES} WHERE image_id = $image_id", {"image_id": image_id})

    def images(self, *, limit: int = 100, after: int = -1) -> list[ImageRow]:
        """Returns up to `limit` images with ids greater than `after`, by id."""
        # Ids have no gaps, so both ends are known: a LIMIT alone would read everything after the first.
        rows = self.sql(
            f"SELECT {SHOWN_COLUMNS} FROM images WHERE image_id > $after AND image_id <= $last"
            " ORDER BY image_id",
            {"after": after, "last": max(after, -1) + limit},
        )
        return [ImageRow(*row) for row in rows]

    def image_rows(self, image_ids: Iterable[SupportsIndex]) -> dict[int, ImageRow]:
        """Returns the rows of the given images, by id and in the order of the ids, without unknown ids."""
        wanted = within(image_ids, self.manifest.n_images)
        if self._rows is not None:
            return dict(zip(wanted, self._rows.rows(wanted), strict=True))
        # A subquery and not a list: only then does DuckDB skip the parts of the table that hold none of them.
        rows = self.sql(
            f"SELECT {SHOWN_COLUMNS} FROM images WHERE image_id IN (SELECT unnest($ids::INTEGER[]))",
            {"ids": wanted},
        )
        found = {row[0]: ImageRow(*row) for row in rows}
        return {image_id: found[image_id] for image_id in wanted if image_id in found}

    def thumb(self, image_id: SupportsIndex) -> bytes:
        """Returns the square that the model saw, as WebP. Raises `NotFoundError`."""
        for known in within([image_id], self.manifest.n_images):
            shard, shard_row = self._place(known)
            if blob := self._thumbs(shard).read(shard_row):
                return blob
        raise self._no_image(image_id)

    def sha256(self, image_id: SupportsIndex) -> str:
        """Returns the sha256 of the original file, in hex. Raises `NotFoundError`."""
        for known in within([image_id], self.manifest.n_images):
            sql = "SELECT sha256 FROM images WHERE image_id = $image_id LIMIT 1"
            for (sha256,) in self.sql(sql, {"image_id": known}):
                return str(sha256)
        raise self._no_image(image_id)

    def embedding(self, image_id: SupportsIndex) -> Float16[np.ndarray, " projection"]:
        """Returns the final projected CLIP embedding of one image, not normalised. Raises `NotFoundError`."""
        for known in within([image_id], self.manifest.n_images):
            shard, shard_row = self._place(known)
            return np.array(self._embeddings(shard)[shard_row])
        raise self._no_image(image_id)

    def embeddings(self) -> np.ndarray[Any, np.dtype[np.float16]]:
        """Returns the final projected CLIP embedding of every image, (n_images, projection_dim), by id."""
        n_shards = self._database.one("SELECT coalesce(max(shard) + 1, 0) FROM images")[0]
        parts = [self._embeddings(shard) for shard in range(n_shards)]
        return (
            np.concatenate(parts) if parts else np.empty((0, self.manifest.model.projection_dim), np.float16)
        )

    def keep_image_rows(self) -> None:
        """Reads the rows of all images into memory, unless there are too many. Results stay the same."""
        if self.manifest.n_images <= MAX_ROWS_IN_MEMORY:
            rows = ImageRows(self._database.table(ALL_ROWS))
            if len(rows) == self.manifest.n_images:
                rows.rows(range(min(1, len(rows))))  # the first time, Arrow loads what it needs: 0.2 s
                self._rows = rows

    @cached_property
    def _first_images(self) -> tuple[list[int], list[int]]:
        """The first image id and the number of every shard that has images."""
        rows = self.sql("SELECT min(image_id), shard FROM images GROUP BY shard ORDER BY 1")
        return [first for first, _ in rows], [shard for _, shard in rows]

    def _place(self, image_id: int) -> tuple[int, int]:
        """The image's shard and row: ids continue from shard to shard. Raises `NotFoundError`."""
        firsts, shards = self._first_images
        at = bisect_right(firsts, image_id) - 1
        if at < 0:
            raise self._no_image(image_id)
        return shards[at], image_id - firsts[at]

    def _embeddings(self, shard: int) -> np.ndarray[Any, np.dtype[np.float16]]:
        """A memory-mapped array that must not be kept: see `open_npy`."""
        path = shard_dir(self.index_dir, shard) / "embeddings.npy"
        self.files.check(path)
        try:
            return open_npy(path)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path} is not readable ({error}); put back a copy of it") from error

    def _thumbs(self, shard: int) -> Pack:
        return self._pack(shard_dir(self.index_dir, shard) / "thumbs.pack")

    def _no_image(self, image_id: SupportsIndex) -> NotFoundError:
        last = self.manifest.n_images - 1
        return NotFoundError(f"{self.manifest.slug} has no image {image_id}; it has 0 to {last}")


def _code(row: tuple[Any, ...]) -> Code:
    _, layer, token, n_active, features, activations, positions = row
    where = positions if positions is not None else [None] * len(features)
    active = [ActiveFeature(*triple) for triple in zip(features, activations, where, strict=True)]
    return Code(parse_layer(layer), token, n_active, active)


def whole_code(path: Path, shard_row: int, listed: Code) -> Code | None:
    """An image's whole code at `any`, read from its shard; None if the shard disagrees with `listed`.

    `listed` is the code in the database, which has only the k strongest features.
    """
    try:
        features, values, positions = _read_code(path, shard_row)
    except (OSError, pa.ArrowException, LookupError, ValueError):
        return None
    order = np.lexsort((features, -values))
    rows = zip(features[order].tolist(), values[order].tolist(), positions[order].tolist(), strict=True)
    active = [ActiveFeature(*row) for row in rows if row[1] > 0]
    firing = [each for each in listed.features if each.activation > 0]
    if len(active) != listed.n_active or active[: len(firing)] != firing:
        return None
    return Code(listed.layer, listed.token, listed.n_active, active)


def _read_code(path: Path, shard_row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with pq.ParquetFile(path, filesystem=LOCAL) as file:
        row = shard_row
        for group in range(file.metadata.num_row_groups):
            n_rows = file.metadata.row_group(group).num_rows
            if row < n_rows:
                found = file.read_row_group(group, columns=_CODE_COLUMNS, use_threads=False).slice(row, 1)
                features, values, positions = (
                    found.column(name).combine_chunks().flatten().to_numpy() for name in _CODE_COLUMNS
                )
                return features, values, positions
            row -= n_rows
    raise LookupError(f"{path} has no row {shard_row}")
