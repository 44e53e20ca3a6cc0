"""Verify and grids: a whole one is never called broken, whatever WebP loses, and a swapped cell is found."""

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageFilter

from indexer.sprites import compose
from indexer.verify import shows
from scopeview.images import encode_webp

THUMB_PX = 224


def photograph(seed: int) -> bytes:
    """Grain over soft shapes: of such images WebP loses more than of flat ones."""
    generator = np.random.default_rng(seed)
    shapes = Image.fromarray(generator.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    soft = np.asarray(shapes.resize((THUMB_PX, THUMB_PX), Image.Resampling.BICUBIC), dtype=np.float64)
    grainy = soft + generator.normal(0, 40, soft.shape)
    file = io.BytesIO()
    Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(file, "WEBP", quality=80)
    return file.getvalue()


THUMBS = [photograph(seed) for seed in range(10)]
NINE = range(9)


def sprite_of(image_ids: Sequence[int]) -> Image.Image:
    return compose(image_ids, lambda image_id: THUMBS[image_id])


def loss(webp: bytes, sprite: Image.Image) -> float:
    with Image.open(io.BytesIO(webp)) as stored:
        return float(np.abs(np.asarray(stored.convert("RGB"), float) - np.asarray(sprite, float)).mean())


def test_a_grid_that_webp_has_changed_more_than_the_eye_sees_is_still_that_grid() -> None:
    sprite = sprite_of(NINE)
    stored = encode_webp(sprite)
    assert loss(stored, sprite) > 4.0
    assert shows(stored, sprite)


@pytest.mark.parametrize("quality", [75, 85, 100])
def test_an_encoder_that_loses_a_little_more_or_less_is_no_damage(quality: int) -> None:
    sprite = sprite_of(NINE)
    assert shows(encode_webp(sprite, quality=quality), sprite)


@pytest.mark.parametrize("cell", NINE)
def test_a_swapped_cell_is_found(cell: int) -> None:
    swapped = [9 if at == cell else at for at in NINE]
    assert not shows(encode_webp(sprite_of(swapped)), sprite_of(NINE))


def test_two_cells_that_changed_places_and_a_grid_of_another_size_are_found() -> None:
    assert not shows(encode_webp(sprite_of([1, 0, *range(2, 9)])), sprite_of(NINE))
    assert not shows(encode_webp(sprite_of(NINE).resize((150, 150))), sprite_of(NINE))
    assert not shows(encode_webp(sprite_of(NINE).filter(ImageFilter.BoxBlur(40))), sprite_of(NINE))
