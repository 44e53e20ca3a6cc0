"""What lies behind the things. Each kind paints a whole picture and leaves everything random to `Draws`."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageDraw

from indexer.world.background_canvas import SHEET_PX, fade, finished, sheet
from indexer.world.canvas import PICTURE_PX
from indexer.world.landscapes import grass, night, snow, water
from indexer.world.palette import INK, PAPER, TINTS, TOO_NEAR, Rgb, mix, shade
from indexer.world.sampling import Draws


class Background(NamedTuple):
    kind: str
    tint: str | None
    """None where the kind has colours of its own."""
    avoided: tuple[str, ...]
    """Colours that could not be told from it."""


# The colours each kind brings itself, and those that would be lost on it.
_OWN_COLOURS: dict[str, tuple[str, ...]] = {
    "grass": ("green", "teal"),
    "night": ("black", "blue", "gray", "brown", "purple"),
    "snow": ("white",),
    "water": ("blue", "teal"),
}
MAX_AVOIDED = max(len(names) for names in (*_OWN_COLOURS.values(), *TOO_NEAR.values()))
"""No background goes with fewer colours than all but so many."""

_JITTER = 3  # of 255


def paint_background(draws: Draws) -> tuple[Image.Image, Background]:
    """RGB, 128 x 128."""
    kind = draws.choice(background_kinds())
    tint = draws.choice(list(TINTS))
    colour = shade(TINTS[tint], 0, [draws.integer(-_JITTER, _JITTER) for _ in range(3)])
    if kind in _OWN_COLOURS:
        return _LANDSCAPES[kind](draws), Background(kind, None, _OWN_COLOURS[kind])
    return _PATTERNS[kind](colour, draws), Background(kind, tint, TOO_NEAR[tint])


def background_kinds() -> list[str]:
    return sorted([*_PATTERNS, *_LANDSCAPES])


def tinted_kinds() -> list[str]:
    """Those that come in every tint."""
    return sorted(_PATTERNS)


def _second(tint: Rgb) -> Rgb:
    """A near relative of the tint for its pattern: lighter on dark, darker on light."""
    return mix(tint, PAPER, 14) if sum(tint) < 400 else mix(tint, INK, 11)


def _plain(tint: Rgb, _draws: Draws) -> Image.Image:
    return Image.new("RGB", (PICTURE_PX, PICTURE_PX), tint)


def _stripes(tint: Rgb, draws: Draws) -> Image.Image:
    width, slope = draws.integer(13, 27), draws.choice((-1, 0, 1))
    shift = slope * SHEET_PX
    image = sheet(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for x in range(-SHEET_PX - draws.integer(0, width), 2 * SHEET_PX, 2 * width):
        corners = [(x, 0), (x + width, 0), (x + width + shift, SHEET_PX), (x + shift, SHEET_PX)]
        draw.polygon(corners, fill=colour)
    return finished(image)


def _dots(tint: Rgb, draws: Draws) -> Image.Image:
    gap = draws.integer(22, 38)
    radius = gap * draws.integer(20, 32) // 100
    image = sheet(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for row, y in enumerate(range(-draws.integer(0, gap), SHEET_PX + gap, gap)):
        for x in range(-gap + (row % 2) * gap // 2, SHEET_PX + gap, gap):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return finished(image)


def _checks(tint: Rgb, draws: Draws) -> Image.Image:
    side = draws.integer(20, 36)
    left, top = draws.integer(0, 2 * side), draws.integer(0, 2 * side)
    image = sheet(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for row, y in enumerate(range(-top, SHEET_PX, side)):
        for x in range(-left + (row % 2) * side, SHEET_PX, 2 * side):
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)
    return finished(image)


def _gradient(tint: Rgb, draws: Draws) -> Image.Image:
    """From the tint to a shade of it so far off that it cannot be taken for plain."""
    other = mix(tint, PAPER, 70) if sum(tint) < 400 else _deeper(tint)
    top, bottom = (tint, other) if draws.one_in(2) else (other, tint)
    image = Image.new("RGB", (PICTURE_PX, PICTURE_PX))
    fade(image, top, bottom, 0, PICTURE_PX)
    return image


def _deeper(tint: Rgb) -> Rgb:
    """Darker and twice as strong a colour."""
    return Rgb(*(max(0, 2 * part - max(tint) - 24) for part in tint))


def _noise(tint: Rgb, draws: Draws) -> Image.Image:
    """Soft mottling, as of marbled paper: a coarse grid of shades, smoothed."""
    side, dark = 11, mix(tint, INK, 20)
    coarse = Image.new("RGB", (side, side))
    coarse.putdata([mix(tint, dark, draws.integer(0, 100)) for _ in range(side * side)])
    return coarse.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC)


_PATTERNS: dict[str, Callable[[Rgb, Draws], Image.Image]] = {
    "plain": _plain,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "gradient": _gradient,
    "noise": _noise,
}
_LANDSCAPES: dict[str, Callable[[Draws], Image.Image]] = {
    "grass": grass,
    "night": night,
    "snow": snow,
    "water": water,
}
