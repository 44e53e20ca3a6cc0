"""The canvas of a background: twice the image's size, which is enough for its low contrasts."""

from PIL import Image

from indexer.world.canvas import IMAGE_PX
from indexer.world.palette import Rgb, mix

_SCALE = 2
BACKGROUND_PX = IMAGE_PX * _SCALE


def blank_canvas(colour: Rgb) -> Image.Image:
    return Image.new("RGB", (BACKGROUND_PX, BACKGROUND_PX), colour)


def downsampled(image: Image.Image) -> Image.Image:
    """Halves the canvas to RGB, 128 x 128: every pixel is the mean of four."""
    return image.reduce(_SCALE)


def fade(image: Image.Image, top: Rgb, bottom: Rgb, start: int, end: int) -> None:
    """Fills rows `start` to `end` with a gradient from one colour to the other."""
    column = Image.new("RGB", (1, end - start))
    column.putdata([mix(top, bottom, 100 * row // (end - start)) for row in range(end - start)])
    image.paste(column.resize((image.width, end - start), Image.Resampling.NEAREST), (0, start))
