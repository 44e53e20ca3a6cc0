"""A small finished index, written by hand with the store's own tools: no model, no indexer.

Its captions, keys and URLs are as hostile as the web's. Counts are worked out from one dense array a slot,
so that a test can ask the array.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from PIL import Image

from scopeview.slots import Layer, Slot, slots_of
from scopeview.store.files import grid_pack, shard_dir
from scopeview.store.manifest import LayerRecord, Manifest, ModelRecord, SaeFigures, write_manifest
from scopeview.store.pack import write_pack
from scopeview.store.schema import TABLES
from scopeview.vision.preprocess import Preprocessing

N_IMAGES, N_FEATURES, K, N_BINS, TOP_N = 64, 96, 4, 10, 20
THUMB_PX, GRID = 48, 16
LAYERS: list[Layer] = [1, 3, "embed"]
TOKENS = ["cls", "137", "any"]
NEVER_FIRES = 7
FEW_IMAGES = 11
"""Fires on three images only: it has no grid."""

HOSTILE_CAPTIONS = [
    "<script>alert(1)</script>",
    "\"quoted\" 'twice' & <b>bold</b> {{ 7 * 7 }} {% raw %}",
    "\u202eright to left مرحبا بالعالم",
    "🦊🏽‍🚀 emoji, and a zero\u200bwidth space",
    "long " * 2000,
    "\x07control \x1b[31mcodes",
]
HOSTILE_URLS = [
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    'https://example.org/a"onmouseover="alert(1)',
    "https://example.org/a.jpg?b=1&c=2",
    " https://example.org/leading-space",
    "//example.org/no-scheme",
]
UNSAFE_IMAGE = 5

Dense = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class SmallIndex:
    """The folder, and what was put into it."""

    index_dir: Path
    dense: dict[Slot, Dense]  # (image, feature), zero where it does not fire
    captions: list[str | None]


def write_index(
    index_dir: Path, *, slug: str = "tiny", random_weights: bool = False, seed: int = 0
) -> SmallIndex:
    """The same arguments give the same index."""
    index_dir.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    slots = slots_of(LAYERS, TOKENS)
    dense = {slot: _activations(generator) for slot in slots}
    captions = [_caption(image_id) for image_id in range(N_IMAGES)]
    thumbs = [_thumb(image_id) for image_id in range(N_IMAGES)]
    write_pack(shard_dir(index_dir, 0) / "thumbs.pack", [_webp(thumb) for thumb in thumbs])
    embeddings = generator.normal(size=(N_IMAGES, 32)).astype(np.float16)
    np.save(shard_dir(index_dir, 0) / "embeddings.npy", embeddings)
    for slot in slots:
        write_pack(grid_pack(index_dir, slot), _grids(dense[slot], thumbs))
    database = f"index-{seed:08x}.duckdb"
    with duckdb.connect(str(index_dir / database)) as connection:
        connection.execute(TABLES)
        insert_rows(connection, "images", _images(captions))
        for slot in slots:
            _fill(connection, slot, dense[slot])
    write_manifest(index_dir, _manifest(slug, database, random_weights))
    return SmallIndex(index_dir, dense, captions)


def _activations(generator: np.random.Generator) -> Dense:
    """Each image fires up to K features; values are quarters, so that there are ties."""
    dense = np.zeros((N_IMAGES, N_FEATURES), np.float32)
    popular = 1 / np.arange(1, N_FEATURES + 1)
    popular[[NEVER_FIRES, FEW_IMAGES]] = 0
    for image_id in range(N_IMAGES):
        chosen = generator.choice(N_FEATURES, K, replace=False, p=popular / popular.sum())
        dense[image_id, chosen] = generator.integers(1, 60, K) / 4 + np.float32(0.1)
    for image_id in (2, 3, UNSAFE_IMAGE):
        weakest = np.where(dense[image_id] > 0)[0][-1]
        dense[image_id, [weakest, FEW_IMAGES]] = 0, 16.1
    return dense


def _fill(connection: duckdb.DuckDBPyConnection, slot: Slot, dense: Dense) -> None:
    at = (str(slot.layer), slot.token)
    features, codes, activations = [], [], []
    for feature in range(N_FEATURES):
        column = dense[:, feature]
        order = _order(column)
        values = column[order].tolist()
        top = order[:TOP_N]
        features.append(
            [
                *at,
                feature,
                len(order),
                float(np.sum(column, dtype=np.float64)),
                max(values, default=None),
                _histogram(values),
                top,
                values[:TOP_N],
                [_position(slot, image_id, feature) for image_id in top] if slot.token == "any" else None,
            ]
        )
        activations += [
            [*at, feature, value, image_id, _position(slot, image_id, feature)]
            for image_id, value in zip(order, values, strict=True)
        ]
    for image_id in range(N_IMAGES):
        order = _order(dense[image_id])
        where = [_position(slot, image_id, feature) for feature in order] if slot.token == "any" else None
        codes.append([image_id, *at, len(order), order, dense[image_id][order].tolist(), where])
    insert_rows(connection, "features", features)
    insert_rows(connection, "codes", codes)
    insert_rows(connection, "activations", activations)


def _order(values: Dense) -> list[int]:
    """Where it is above zero: descending, ties by number."""
    firing = np.flatnonzero(values > 0)
    return [int(at) for at in firing[np.lexsort((firing, -values[firing]))]]


def _position(slot: Slot, image_id: int, feature: int) -> int | None:
    return (image_id * 7 + feature) % (GRID * GRID + 1) if slot.token == "any" else None


def _histogram(values: list[float]) -> list[int]:
    if not values:
        return [0] * N_BINS
    bins = np.ceil(np.asarray(values) / max(values) * N_BINS).astype(int) - 1
    return np.bincount(bins, minlength=N_BINS).tolist()  # type: ignore[no-any-return]


def _images(captions: list[str | None]) -> list[list[Any]]:
    return [
        [
            image_id,
            0,
            image_id,
            "<key>&\"'" if image_id == 0 else f"image-{image_id:03d}",
            caption,
            HOSTILE_URLS[image_id] if image_id < len(HOSTILE_URLS) else f"https://example.org/{image_id}.jpg",
            None,
            640,
            480,
            f"{image_id:064x}",
            0.97 if image_id == UNSAFE_IMAGE else 0.01,
            0.0,
        ]
        for image_id, caption in enumerate(captions)
    ]


def _caption(image_id: int) -> str | None:
    if image_id < len(HOSTILE_CAPTIONS):
        return HOSTILE_CAPTIONS[image_id]
    return None if image_id == 6 else f"a scene with {image_id} things"


def _thumb(image_id: int) -> Image.Image:
    """A flat colour of its own, with a lighter square inside."""
    colour = ((image_id * 67) % 200, (image_id * 29) % 200, (image_id * 113) % 200)
    thumb = Image.new("RGB", (THUMB_PX, THUMB_PX), colour)
    lighter = (colour[0] + 50, colour[1] + 50, colour[2] + 50)
    thumb.paste(lighter, (THUMB_PX // 4, THUMB_PX // 4, THUMB_PX // 2, THUMB_PX // 2))
    return thumb


def _grids(dense: Dense, thumbs: list[Image.Image]) -> list[bytes | None]:
    return [_grid([thumbs[at] for at in _order(dense[:, feature])[:9]]) for feature in range(N_FEATURES)]


def _grid(nine: list[Image.Image]) -> bytes | None:
    if len(nine) < 9:
        return None
    sprite = Image.new("RGB", (3 * THUMB_PX, 3 * THUMB_PX))
    for at, thumb in enumerate(nine):
        sprite.paste(thumb, (at % 3 * THUMB_PX, at // 3 * THUMB_PX))
    return _webp(sprite)


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def insert_rows(connection: duckdb.DuckDBPyConnection, table: str, rows: list[list[Any]]) -> None:
    """All at once: `executemany`, which inserts row by row, takes five seconds for one index."""
    columns = {f"column_{at}": list(column) for at, column in enumerate(zip(*rows, strict=True))}
    connection.register("rows_to_insert", pa.table(columns))
    connection.execute(f"INSERT INTO {table} SELECT * FROM rows_to_insert")
    connection.unregister("rows_to_insert")


def _manifest(slug: str, database: str, random_weights: bool) -> Manifest:
    return Manifest(
        scopeview="0.1.0",
        slug=slug,
        created="2026-11-21T05:30:00Z",
        dataset="sets/<hostile> & sons",
        source_kind="webdataset",
        database=database,
        n_images=N_IMAGES,
        skipped={"corrupt image": 2},
        model=ModelRecord(
            ref="example/tiny-clip",
            revision="0123456789abcdef",
            sha256="a" * 64,
            n_layers=4,
            width=64,
            projection_dim=32,
            image_px=128,
            patch_px=8,
            random_weights=random_weights,
            preprocessing=Preprocessing.from_config({"size": 128, "crop_size": 128}).to_dict(),
        ),
        layers=[_layer(layer) for layer in LAYERS],
        tokens=TOKENS,
        dtype="float32",
        device="cpu",
        top_n=TOP_N,
        n_bins=N_BINS,
        thumb_px=THUMB_PX,
    )


def _layer(layer: Layer) -> LayerRecord:
    figures = SaeFigures(explained_variance=0.7312345, mse=261.2, l0=3.97, n_tokens=10_000)
    return LayerRecord(
        layer=layer,
        sae="example/tiny-scope",
        sae_revision=None,
        sae_file=f"{layer}_resid/100.pt",
        sae_sha256="b" * 64,
        architecture="topk",
        d_in=32 if layer == "embed" else 64,
        n_features=N_FEATURES,
        k=K,
        normalization="none",
        figures=None if layer == "embed" else figures,
    )
