"""A canvas four times as large as the picture it ends as, which is what smooths the edges."""

from PIL import Image, ImageDraw, ImageFilter

from indexer.world.geometry import Point, bounds
from indexer.world.palette import INK, Rgb

PICTURE_PX = 128
SCALE = 4
CANVAS_PX = PICTURE_PX * SCALE

_SHADOW_BLUR_PX = 5
_SHADOW_STRENGTH = 72  # of 255
_SHADOW_SHIFT_PX = (5, 11)


class Canvas:
    def __init__(self, colour: Rgb) -> None:
        self.image = Image.new("RGB", (CANVAS_PX, CANVAS_PX), colour)
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def shadow(self, outlines: list[list[Point]]) -> None:
        """Soft, under all outlines as one."""
        margin = 2 * _SHADOW_BLUR_PX
        points = [point for outline in outlines for point in outline]
        left, top, right, bottom = (round(edge) for edge in bounds(points))
        mask = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin))
        draw = ImageDraw.Draw(mask)
        for outline in outlines:
            draw.polygon([(x - left + margin, y - top + margin) for x, y in outline], fill=_SHADOW_STRENGTH)
        mask = mask.filter(ImageFilter.BoxBlur(_SHADOW_BLUR_PX))
        dx, dy = _SHADOW_SHIFT_PX
        self.image.paste(INK, (left - margin + dx, top - margin + dy), mask)

    def picture(self) -> Image.Image:
        """RGB, 128 x 128: every pixel the mean of 16."""
        return self.image.reduce(SCALE)
