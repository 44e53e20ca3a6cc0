"""Grids: one WebP sprite of 3 x 3 thumbnails per feature that fires on at least nine images, packed per slot.

The cells follow the ranks: left to right, top to bottom. They touch: the page draws the lines between them in
its own colour.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import lru_cache

from PIL import Image

from indexer.prepare import ordered
from scopeview.images import encode_webp
from scopeview.slots import Slot
from scopeview.store.files import grid_pack
from scopeview.store.pack import PackWriter, offsets_path
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES

CELL_PX = 112
_SIDE = 3
_PAGE = 4096
_CELLS_KEPT = 8192  # decoded cells in memory: 38 KB each

Cells = Callable[[int], Image.Image]


def write_grids(reader: IndexReader, slot: Slot, pool: Executor, advance: Callable[[], None]) -> None:
    """Writes the slot's pack, numbered by feature, unless it exists."""
    path = grid_pack(reader.index_dir, slot)
    if offsets_path(path).exists():
        return
    cell = lru_cache(maxsize=_CELLS_KEPT)(lambda image_id: _cell(reader.thumb(image_id)))
    with PackWriter(path) as writer:
        for sprite in ordered(pool, lambda ids: _sprite(ids, cell), _top_nines(reader, slot), ahead=64):
            writer.append(sprite)
            advance()


def compose(image_ids: Sequence[int], thumb: Callable[[int], bytes]) -> Image.Image:
    """Makes a sprite from the thumbnails of these images, given by rank."""
    return _compose(image_ids, lambda image_id: _cell(thumb(image_id)))


def _top_nines(reader: IndexReader, slot: Slot) -> Iterator[list[int]]:
    """The image ids of every feature's grid, by feature; an empty list for a feature without one."""
    record = reader.manifest.layer(slot.layer)
    assert record is not None
    for start in range(0, record.n_features, _PAGE):
        cards = reader.cards(slot, range(start, min(start + _PAGE, record.n_features)))
        for feature in sorted(cards):
            yield cards[feature].top_image_ids if cards[feature].has_grid else []


def _sprite(image_ids: list[int], cell: Cells) -> bytes | None:
    if len(image_ids) < MIN_GRID_IMAGES:
        return None
    return encode_webp(_compose(image_ids, cell))


def _compose(image_ids: Sequence[int], cell: Cells) -> Image.Image:
    sprite = Image.new("RGB", (_SIDE * CELL_PX, _SIDE * CELL_PX))
    for i, image_id in enumerate(image_ids):
        sprite.paste(cell(image_id), ((i % _SIDE) * CELL_PX, (i // _SIDE) * CELL_PX))
    return sprite


def _cell(thumb: bytes) -> Image.Image:
    with Image.open(io.BytesIO(thumb), formats=["WEBP"]) as image:
        return image.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
