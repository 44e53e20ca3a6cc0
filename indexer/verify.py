"""Verify: is this index whole, and do its parts agree with each other? Reads all of it, changes nothing."""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
from PIL import Image

from indexer.shard_output import read_marker
from scopeview.errors import ScopeviewError
from scopeview.slots import Slot
from scopeview.store.files import SHARD_MARKER, grid_pack
from scopeview.store.pack import Pack
from scopeview.store.reader import IndexReader

_SAMPLE = 50


def verify(index_dir: Path) -> list[str]:
    """What is wrong, in sentences; nothing when all is well. Raises when it is no finished index."""
    with IndexReader(index_dir) as reader:
        checks: list[Callable[[IndexReader], Iterator[str]]] = [_images, _shards, _thumbs]
        problems = [problem for check in checks for problem in check(reader)]
        for slot in reader.manifest.slots:
            problems += [f"{slot.name}: {problem}" for problem in _slot(reader, slot)]
    return problems


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
    total = 0
    for number in range(len(list((reader.index_dir / "shards").glob(f"*/{SHARD_MARKER}")))):
        marker = read_marker(reader.index_dir, number)
        if marker is None:
            yield f"shard {number} has no marker"
        else:
            total += marker.n_images
    if total != reader.manifest.n_images:
        yield f"the shards hold {total} images, the manifest says {reader.manifest.n_images}"


def _thumbs(reader: IndexReader) -> Iterator[str]:
    for image_id in _sample(reader.manifest.n_images):
        try:
            with Image.open(io.BytesIO(reader.thumb(image_id)), formats=["WEBP"]) as image:
                image.load()
        except (ScopeviewError, OSError, duckdb.Error) as error:
            yield f"thumbnail of image {image_id}: {error}"


def _slot(reader: IndexReader, slot: Slot) -> Iterator[str]:
    where = f"WHERE layer = '{slot.layer}' AND token = '{slot.token}'"
    record = reader.manifest.layer(slot.layer)
    n, firing, gridded = _row(
        reader,
        f"SELECT count(*), coalesce(sum(n_active), 0), count(*) FILTER (n_active >= 9) FROM features {where}",
    )
    if record is None or n != record.n_features:
        yield f"{n} features instead of {record.n_features if record else 'none'}"
    (stored,) = _row(reader, f"SELECT count(*) FROM activations {where}")
    if stored != firing:
        yield f"its features fire {firing} times, but {stored} activations are stored"
    (torn,) = _row(reader, f"SELECT count(*) FROM features {where} AND list_sum(histogram) != n_active")
    if torn:
        yield f"{torn} histograms do not add up to the images that the feature fires on"
    yield from _tops(reader, slot)
    yield from _grids(reader, slot, gridded)


def _tops(reader: IndexReader, slot: Slot) -> Iterator[str]:
    for card in reader.gallery(slot, sort="random", min_images=1, limit=_SAMPLE).cards:
        record = reader.feature(slot.layer, card.feature, slot.token)
        if record.top_images != reader.activating_images(slot, card.feature, limit=len(record.top_images)):
            yield f"feature {card.feature}: its stored top images are not the first of its activations"


def _grids(reader: IndexReader, slot: Slot, expected: int) -> Iterator[str]:
    pack = Pack(grid_pack(reader.index_dir, slot))
    found = sum(pack.read(feature) is not None for feature in range(len(pack)))
    if found != expected:
        yield f"{found} grids for {expected} features that fire on at least nine images"
    pack.close()


def _sample(n: int) -> list[int]:
    return sorted(random.Random(0).sample(range(n), min(n, _SAMPLE)))


def _row(reader: IndexReader, sql: str) -> tuple[int, ...]:
    return reader.sql(sql)[0]
