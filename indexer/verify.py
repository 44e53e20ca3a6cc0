"""Verify: is this index whole, and do its parts agree with each other? Reads all of it, changes nothing."""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from indexer.grids import compose
from indexer.shard_output import ShardMarker, read_marker
from indexer.verify_described import DescribedCheck
from scopeview.errors import ScopeviewError
from scopeview.slots import Slot
from scopeview.store.files import SHARD_MARKER, codes_file, grid_pack, shard_dir
from scopeview.store.npy import map_npy
from scopeview.store.pack import Pack
from scopeview.store.reader import DatabaseReader, IndexReader

_SAMPLE = 50
_SPRITES = 8  # a slot: each is made anew from its nine thumbnails
_SAME_SHADE = (
    4.0  # mean difference in levels of 255: another WebP encoder differs by less, another picture by more
)
_DAMAGED = (ScopeviewError, OSError, ValueError, KeyError, TypeError, duckdb.Error, pa.ArrowException)


def verify(index_dir: Path) -> list[str]:
    """What is wrong, in sentences; nothing when all is well. Raises when it is no finished index."""
    with DatabaseReader(index_dir) as reader, IndexReader(index_dir) as as_read:
        problems: list[str] = []
        for name, check in _checks(reader, as_read):
            try:
                problems += [f"{name}{problem}" for problem in check()]
            except _DAMAGED as error:
                problems.append(f"{name}{error}")
    return problems


def _checks(reader: IndexReader, as_read: IndexReader) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
    """Each with the prefix of its problems; one that breaks off does not stop the rest."""
    yield "", lambda: _images(reader)
    yield "", lambda: _shards(reader)
    yield "", lambda: _samples(reader)
    for slot in reader.manifest.slots:
        for check in (_features, _tops, _grids, *_described(reader, as_read)):
            yield f"{slot.name}: ", lambda check=check, slot=slot: check(reader, slot)  # type: ignore[misc]


def _described(
    reader: IndexReader, as_read: IndexReader
) -> list[Callable[[IndexReader, Slot], Iterator[str]]]:
    if not reader.is_described:
        return []
    found = DescribedCheck(reader, as_read)
    return [
        lambda _, slot: found.counts(slot),
        lambda _, slot: found.samples(slot),
        lambda _, slot: found.rows(slot),
    ]


def _images(reader: IndexReader) -> Iterator[str]:
    n, distinct, last = _row(reader, "SELECT count(*), count(DISTINCT key), max(image_id) FROM images")
    if n != reader.manifest.n_images:
        yield f"the manifest says {reader.manifest.n_images} images, the database holds {n}"
    if n and (distinct != n or last != n - 1):
        yield f"{n} images have {distinct} different keys and ids up to {last}"
    (codes,) = _row(reader, "SELECT count(*) FROM codes")
    if codes != n * len(reader.manifest.slots):
        yield f"{codes} codes for {n} images at {len(reader.manifest.slots)} slots"


def _shards(reader: IndexReader) -> Iterator[str]:
    stored = dict(reader.sql("SELECT shard, count(*) FROM images GROUP BY shard"))
    total = 0
    for number in range(len(list((reader.index_dir / "shards").glob(f"*/{SHARD_MARKER}")))):
        marker = read_marker(reader.index_dir, number)
        if marker is None:
            yield f"shard {number} has no marker"
            continue
        total += marker.n_images
        if stored.get(number, 0) != marker.n_images:
            yield f"shard {number} holds {marker.n_images} images, the database {stored.get(number, 0)} of it"
        yield from _shard_files(reader, number, marker)
    if total != reader.manifest.n_images:
        yield f"the shards hold {total} images, the manifest says {reader.manifest.n_images}"


def _shard_files(reader: IndexReader, number: int, marker: ShardMarker) -> Iterator[str]:
    folder = shard_dir(reader.index_dir, number)
    counts: dict[str, Callable[[Path], int]] = {
        "thumbs.pack": _n_blobs,
        "embeddings.npy": lambda path: len(map_npy(path)),
        "images.parquet": _n_rows,
        **{codes_file(folder, slot).name: _n_rows for slot in reader.manifest.slots},
    }
    for name, count in counts.items():
        try:
            n = count(folder / name)
        except _DAMAGED as error:
            yield f"shard {number}: {name}: {error}"
            continue
        if n != marker.n_images:
            yield f"shard {number}: {name} holds {n} images, its marker says {marker.n_images}"


def _n_blobs(path: Path) -> int:
    pack = Pack(path)
    pack.close()
    return len(pack)


def _n_rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def _samples(reader: IndexReader) -> Iterator[str]:
    """Some images: is what the database says of them what encode wrote, and can the thumbnail be seen?"""
    n = reader.manifest.n_images
    for image_id in sorted(random.Random(0).sample(range(n), min(n, _SAMPLE))):
        try:
            yield from (f"image {image_id}: {problem}" for problem in _sample(reader, image_id))
        except _DAMAGED as error:
            yield f"image {image_id}: {error}"


def _sample(reader: IndexReader, image_id: int) -> Iterator[str]:
    with Image.open(io.BytesIO(reader.thumb(image_id)), formats=["WEBP"]) as image:
        image.load()
    query = "SELECT shard, shard_row, key, sha256 FROM images WHERE image_id = $image_id"
    shard, row, *named = reader.sql(query, {"image_id": image_id})[0]
    folder = shard_dir(reader.index_dir, shard)
    if named != list(_parquet_row(folder / "images.parquet", row, ["key", "sha256"])):
        yield "the database and its shard name different pictures"
    codes = {Slot(code.layer, code.token): code for code in reader.image(image_id).codes}
    for slot in reader.manifest.slots:
        features, values = _parquet_row(codes_file(folder, slot), row, ["features", "activations"])
        found = [(active.feature, active.activation) for active in codes[slot].features]
        if found != list(zip(features, values, strict=True))[: len(found)] or bool(found) != bool(features):
            yield f"its code at {slot.name} is not the one in its shard"


def _parquet_row(path: Path, row: int, columns: list[str]) -> tuple[Any, ...]:
    return tuple(pq.read_table(path, columns=columns).slice(row, 1).to_pylist()[0].values())


def _features(reader: IndexReader, slot: Slot) -> Iterator[str]:
    where = f"WHERE layer = '{slot.layer}' AND token = '{slot.token}'"
    record = reader.manifest.layer(slot.layer)
    n, firing = _row(reader, f"SELECT count(*), coalesce(sum(n_active), 0) FROM features {where}")
    if record is None or n != record.n_features:
        yield f"{n} features instead of {record.n_features if record else 'none'}"
    (stored,) = _row(reader, f"SELECT count(*) FROM activations {where}")
    if stored != firing:
        yield f"its features fire {firing} times, but {stored} activations are stored"
    (torn,) = _row(reader, f"SELECT count(*) FROM features {where} AND list_sum(histogram) != n_active")
    if torn:
        yield f"{torn} histograms do not add up to the images that the feature fires on"


def _tops(reader: IndexReader, slot: Slot) -> Iterator[str]:
    for card in reader.gallery(slot, sort="random", min_images=1, limit=_SAMPLE).cards:
        record = reader.feature(slot.layer, card.feature, slot.token)
        if record.top_images != reader.activating_images(slot, card.feature, limit=len(record.top_images)):
            yield f"feature {card.feature}: its stored top images are not the first of its activations"


def _grids(reader: IndexReader, slot: Slot) -> Iterator[str]:
    pack = Pack(grid_pack(reader.index_dir, slot))
    found = sum(pack.read(feature) is not None for feature in range(len(pack)))
    pack.close()
    expected = reader.summary(slot).n_active
    if found != expected:
        yield f"{found} grids for {expected} features that fire on at least nine images"
    for card in reader.gallery(slot, sort="random", limit=_SPRITES).cards:
        made = np.asarray(compose(card.top_image_ids, reader.thumb), dtype=np.int16)
        with Image.open(io.BytesIO(reader.grid(slot, card.feature)), formats=["WEBP"]) as sprite:
            stored = np.asarray(sprite.convert("RGB"), dtype=np.int16)
        if stored.shape != made.shape or np.abs(stored - made).mean() > _SAME_SHADE:
            yield f"feature {card.feature}: its grid does not show the thumbnails of its top images"


def _row(reader: IndexReader, sql: str) -> tuple[int, ...]:
    return reader.sql(sql)[0]
