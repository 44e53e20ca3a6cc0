"""Verify: is this index complete, and do its parts agree with each other? Reads all of it, changes nothing.

Checksums find damage, file by file. If there is none, further checks compare the output of one stage with the
input from another. A checksum cannot do that, since a file that was written wrong has a matching one too.
"""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float64, Int16
from PIL import Image

from indexer.shard_writer import ShardMarker, read_marker
from indexer.sprites import compose
from indexer.verify_described import DescribedCheck
from scopeview.errors import DamagedError, ScopeviewError
from scopeview.images import encode_webp
from scopeview.progress import task
from scopeview.slots import Slot
from scopeview.store.checksums import IndexFiles
from scopeview.store.files import RUN, SHARD_MARKER, codes_file, grid_pack, read_sealed_json, shard_dir
from scopeview.store.manifest import Manifest, read_manifest
from scopeview.store.pack import Pack, open_npy
from scopeview.store.reader import DatabaseReader, IndexReader

_SAMPLE = 50
_SPRITES = 8  # a slot: each is made anew from its nine thumbnails
_LOSS, _SHADE = 1.5, 4.0
"""How much a grid cell may differ from its thumbnail: `_LOSS` times the loss of WebP, measured for each cell,
plus `_SHADE` levels of 255. Another version of the encoder loses about as much; another image differs by
more."""


def verify(index_dir: Path) -> list[str]:
    """The problems found, as sentences; empty if there are none. Raises if it is not a finished index."""
    manifest = read_manifest(index_dir)
    damaged = [*_run_record(index_dir), *_damaged_files(index_dir, manifest)]
    return damaged or _disagreements(index_dir)


def _run_record(index_dir: Path) -> Iterator[str]:
    """Checks `run.json`, which holds its own checksum, since a rerun may change it."""
    try:
        if read_sealed_json(index_dir / RUN, set) != {"config", "weights"}:
            yield f"{RUN} is damaged: it holds other than config and weights"
    except FileNotFoundError:
        yield f"{RUN} is missing: the index can be served, but takes no uploads"
    except DamagedError as error:
        yield str(error)


def _damaged_files(index_dir: Path, manifest: Manifest) -> Iterator[str]:
    files = IndexFiles(index_dir, manifest)
    with task("verify", len(manifest.files or {}), "files") as progress:
        for name, problem in files.problems(progress.advance):
            yield f"{name} {problem}"


def _disagreements(index_dir: Path) -> list[str]:
    with DatabaseReader(index_dir) as reader, IndexReader(index_dir) as as_read:
        problems: list[str] = []
        for name, check in _checks(reader, as_read):
            try:
                problems += [f"{name}{problem}" for problem in check()]
            except Exception as error:  # of a damaged file without a checksum anything may come
                problems.append(f"{name}{_said(error)}")
    return problems


def _checks(reader: IndexReader, as_read: IndexReader) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
    """Yields each check with the prefix of its problems; a check that breaks off does not stop the rest."""
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
        "embeddings.npy": lambda path: len(open_npy(path)),
        "images.parquet": _n_rows,
        **{codes_file(folder, slot).name: _n_rows for slot in reader.manifest.slots},
    }
    for name, count in counts.items():
        try:
            n = count(folder / name)
        except Exception as error:
            yield f"shard {number}: {name}: {_said(error)}"
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
    """For some images: does the database agree with encode's output, and can the thumbnail be decoded?"""
    n = reader.manifest.n_images
    for image_id in sorted(random.Random(0).sample(range(n), min(n, _SAMPLE))):
        try:
            yield from (f"image {image_id}: {problem}" for problem in _sample(reader, image_id))
        except Exception as error:
            yield f"image {image_id}: {_said(error)}"


def _sample(reader: IndexReader, image_id: int) -> Iterator[str]:
    with Image.open(io.BytesIO(reader.thumb(image_id)), formats=["WEBP"]) as image:
        image.load()
    query = "SELECT shard, shard_row, key, sha256 FROM images WHERE image_id = $image_id"
    shard, row, *named = reader.sql(query, {"image_id": image_id})[0]
    folder = shard_dir(reader.index_dir, shard)
    if named != list(_parquet_row(folder / "images.parquet", row, ["key", "sha256"])):
        yield "the database and its shard name different images"
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
        sprite = compose(card.top_image_ids, reader.thumb)
        if not shows(reader.grid(slot, card.feature), sprite):
            yield f"feature {card.feature}: its grid does not show the thumbnails of its top images"


def shows(webp: bytes, sprite: Image.Image) -> bool:
    """True if each cell of the stored image matches the sprite's, up to the loss of WebP."""
    made, stored = _pixels(sprite), _pixels(_opened(webp))
    if stored.shape != made.shape:
        return False
    loss = _cell_differences(made, _pixels(_opened(encode_webp(sprite))))
    return bool((_cell_differences(made, stored) <= _LOSS * loss + _SHADE).all())


def _opened(webp: bytes) -> Image.Image:
    return Image.open(io.BytesIO(webp), formats=["WEBP"])


def _pixels(image: Image.Image) -> Int16[np.ndarray, "height width 3"]:
    return np.array(image.convert("RGB")).astype(np.int16)


def _cell_differences(
    one: Int16[np.ndarray, "height width 3"], other: Int16[np.ndarray, "height width 3"]
) -> Float64[np.ndarray, "row column"]:
    side = one.shape[0] // 3
    cells = np.abs(one - other)[: 3 * side, : 3 * side].reshape(3, side, 3, side, 3)
    means: Float64[np.ndarray, "row column"] = cells.mean(axis=(1, 3, 4))
    return means


def _said(error: Exception) -> str:
    """The error's message, with its type unless it is a `ScopeviewError`."""
    return str(error) if isinstance(error, ScopeviewError) else f"{type(error).__name__}: {error}"


def _row(reader: IndexReader, sql: str) -> tuple[int, ...]:
    return reader.sql(sql)[0]
