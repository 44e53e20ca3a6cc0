"""Paints with smooth edges: in patches four times as large as their place in the image, then averaged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from PIL import Image, ImageDraw, ImageFilter

from indexer.world.geometry import Length
from indexer.world.palette import INK, Rgb

IMAGE_PX = 128
SCALE = 4
CANVAS_PX = IMAGE_PX * SCALE

_SHADOW_BLUR_PX = 1.25
_SHADOW_STRENGTH = 72  # of 255
_SHADOW_SHIFT_PX = (1, 3)
_MARGIN_PX = 3
_SHADOW = [level * _SHADOW_STRENGTH // 255 for level in range(256)]


class Silhouette(NamedTuple):
    """How much of each pixel a thing covers, of 255; the top left corner is at `left`, `top` of the image."""

    left: int
    top: int
    coverage: Image.Image

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box of the part inside the image; right and bottom are exclusive."""
        right, bottom = self.left + self.coverage.width, self.top + self.coverage.height
        return max(0, self.left), max(0, self.top), min(IMAGE_PX, right), min(IMAGE_PX, bottom)


def paint(
    canvas: Image.Image, points: Int64[np.ndarray, "point 2"], ends: Sequence[int], colours: Sequence[Rgb]
) -> Silhouette:
    """Paints one thing, and its shadow beneath it, into the image.

    `points` holds its outlines end to end, in pixels of the canvas, the one at the back first; `ends` holds
    the index after the last point of each.
    """
    left, top = (int(low) // SCALE for low in points.min(axis=0))
    right, bottom = (int(high) // SCALE + 1 for high in points.max(axis=0))
    flat = (points - (left * SCALE, top * SCALE)).ravel().tolist()
    outlines = [flat[2 * start : 2 * end] for start, end in zip((0, *ends), ends, strict=False)]
    size = ((right - left) * SCALE, (bottom - top) * SCALE)
    silhouette = Silhouette(left, top, _draw(Image.new("L", size), outlines, [255] * len(outlines)))
    _cast_shadow(canvas, silhouette)
    backdrop = canvas.crop((left, top, right, bottom)).resize(size, Image.Resampling.NEAREST)
    canvas.paste(_draw(backdrop, outlines, colours), (left, top))
    return silhouette


def _draw(
    patch: Image.Image, outlines: Sequence[Sequence[Length]], colours: Sequence[Rgb | int]
) -> Image.Image:
    """Draws outlines and scales the patch down to the image's scale: every pixel is the mean of 16."""
    draw = ImageDraw.Draw(patch)
    for outline, colour in zip(outlines, colours, strict=True):
        draw.polygon(outline, fill=colour)
    return patch.reduce(SCALE)


def _cast_shadow(canvas: Image.Image, silhouette: Silhouette) -> None:
    left, top, coverage = silhouette
    shadow = Image.new("L", (coverage.width + 2 * _MARGIN_PX, coverage.height + 2 * _MARGIN_PX))
    shadow.paste(coverage, (_MARGIN_PX, _MARGIN_PX))
    shadow = shadow.filter(ImageFilter.BoxBlur(_SHADOW_BLUR_PX)).point(_SHADOW)
    dx, dy = _SHADOW_SHIFT_PX
    canvas.paste(INK, (left - _MARGIN_PX + dx, top - _MARGIN_PX + dy), shadow)
