"""Backgrounds of scenes. Each kind paints a whole image; `RandomStream` decides everything random."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageDraw

from indexer.world.background_canvas import BACKGROUND_PX, blank_canvas, downsampled, fade
from indexer.world.canvas import IMAGE_PX
from indexer.world.palette import COLOURS, INK, PAPER, TINTS, TOO_NEAR, Rgb, mix, shade
from indexer.world.sampling import RandomStream


class Background(NamedTuple):
    kind: str
    tint: str | None
    """The name of the tint; None if the kind has colours of its own."""
    avoided: tuple[str, ...]
    """Colours of things that would not stand out from it."""


# The colours each kind brings itself, and those that would be lost on it.
_OWN_COLOURS: dict[str, tuple[str, ...]] = {
    "grass": ("green", "teal"),
    "night": ("black", "blue", "gray", "brown", "purple"),
    "snow": ("white",),
    "water": ("blue", "teal"),
}
MAX_AVOIDED = max(len(names) for names in (*_OWN_COLOURS.values(), *TOO_NEAR.values()))
"""The largest number of colours that any background excludes."""

_JITTER = 3  # of 255


def paint_background(random: RandomStream) -> tuple[Image.Image, Background]:
    """Paints a random background, RGB, 128 x 128."""
    kind = random.choice(background_kinds())
    tint = random.choice(list(TINTS))
    colour = shade(TINTS[tint], 0, [random.integer(-_JITTER, _JITTER) for _ in range(3)])
    if kind in _OWN_COLOURS:
        return _LANDSCAPES[kind](random), Background(kind, None, _OWN_COLOURS[kind])
    return _PATTERNS[kind](colour, random), Background(kind, tint, TOO_NEAR[tint])


def background_kinds() -> list[str]:
    return sorted([*_PATTERNS, *_LANDSCAPES])


def tinted_kinds() -> list[str]:
    """The kinds that come in every tint."""
    return sorted(_PATTERNS)


def _second(tint: Rgb) -> Rgb:
    """A colour near the tint, for its pattern: lighter on dark, darker on light."""
    return mix(tint, PAPER, 14) if sum(tint) < 400 else mix(tint, INK, 11)


def _plain(tint: Rgb, _draws: RandomStream) -> Image.Image:
    return Image.new("RGB", (IMAGE_PX, IMAGE_PX), tint)


def _stripes(tint: Rgb, random: RandomStream) -> Image.Image:
    width, slope = random.integer(13, 27), random.choice((-1, 0, 1))
    shift = slope * BACKGROUND_PX
    image = blank_canvas(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for x in range(-BACKGROUND_PX - random.integer(0, width), 2 * BACKGROUND_PX, 2 * width):
        corners = [(x, 0), (x + width, 0), (x + width + shift, BACKGROUND_PX), (x + shift, BACKGROUND_PX)]
        draw.polygon(corners, fill=colour)
    return downsampled(image)


def _dots(tint: Rgb, random: RandomStream) -> Image.Image:
    gap = random.integer(22, 38)
    radius = gap * random.integer(20, 32) // 100
    image = blank_canvas(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for row, y in enumerate(range(-random.integer(0, gap), BACKGROUND_PX + gap, gap)):
        for x in range(-gap + (row % 2) * gap // 2, BACKGROUND_PX + gap, gap):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return downsampled(image)


def _checks(tint: Rgb, random: RandomStream) -> Image.Image:
    side = random.integer(20, 36)
    left, top = random.integer(0, 2 * side), random.integer(0, 2 * side)
    image = blank_canvas(tint)
    draw, colour = ImageDraw.Draw(image), _second(tint)
    for row, y in enumerate(range(-top, BACKGROUND_PX, side)):
        for x in range(-left + (row % 2) * side, BACKGROUND_PX, 2 * side):
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill=colour)
    return downsampled(image)


def _gradient(tint: Rgb, random: RandomStream) -> Image.Image:
    """A gradient from the tint to a shade far enough from it not to look plain."""
    other = mix(tint, PAPER, 70) if sum(tint) < 400 else _deeper(tint)
    top, bottom = (tint, other) if random.one_in(2) else (other, tint)
    image = Image.new("RGB", (IMAGE_PX, IMAGE_PX))
    fade(image, top, bottom, 0, IMAGE_PX)
    return image


def _deeper(tint: Rgb) -> Rgb:
    """A darker colour, twice as saturated."""
    return Rgb(*(max(0, 2 * part - max(tint) - 24) for part in tint))


def _noise(tint: Rgb, random: RandomStream) -> Image.Image:
    """Soft mottling, like marbled paper: a coarse grid of shades, smoothed."""
    side, dark = 11, mix(tint, INK, 20)
    coarse = Image.new("RGB", (side, side))
    coarse.putdata([mix(tint, dark, random.integer(0, 100)) for _ in range(side * side)])
    return coarse.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC)


def _grass(random: RandomStream) -> Image.Image:
    """A meadow under the sky, with blades and a few daisies."""
    image, horizon = blank_canvas(Rgb(0, 0, 0)), random.integer(85, 125)
    draw = ImageDraw.Draw(image)
    fade(image, Rgb(167, 211, 240), Rgb(231, 243, 240), 0, horizon)
    hill = random.integer(-75, 75)
    draw.ellipse((hill - 100, horizon - 23, hill + 280, horizon + 150), fill=Rgb(142, 198, 118))
    fade(image, Rgb(133, 192, 104), Rgb(84, 152, 76), horizon, BACKGROUND_PX)
    for _ in range(60):
        x, y = random.integer(0, BACKGROUND_PX), random.integer(horizon + 7, BACKGROUND_PX + 5)
        lean, height = random.integer(-3, 3), random.integer(7, 13)
        shade = mix(Rgb(70, 138, 66), Rgb(156, 205, 110), random.integer(0, 100))
        draw.polygon([(x - 2, y), (x + lean, y - height), (x + 2, y)], fill=shade)
    for _ in range(random.integer(0, 6)):
        x, y = random.integer(5, BACKGROUND_PX - 5), random.integer(horizon + 15, BACKGROUND_PX - 5)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=PAPER)
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=COLOURS["yellow"])
    return downsampled(image)


def _night(random: RandomStream) -> Image.Image:
    """Stars over dark hills."""
    image = blank_canvas(Rgb(0, 0, 0))
    fade(image, Rgb(22, 26, 58), Rgb(66, 62, 118), 0, BACKGROUND_PX)
    draw = ImageDraw.Draw(image)
    for _ in range(random.integer(26, 44)):
        x, y, size = random.integer(0, BACKGROUND_PX), random.integer(0, 200), random.integer(1, 3)
        colour = mix(
            mix(PAPER, Rgb(150, 170, 255), random.integer(0, 60)), Rgb(34, 36, 78), random.integer(0, 50)
        )
        draw.ellipse((x, y, x + size, y + size), fill=colour)
    for colour, height in ((Rgb(38, 38, 80), 55), (Rgb(25, 25, 56), 35)):
        x = random.integer(-100, 100)
        draw.ellipse((x - 150, BACKGROUND_PX - height, x + 230, BACKGROUND_PX + 130), fill=colour)
        draw.ellipse((x + 130, BACKGROUND_PX - height + 13, x + 450, BACKGROUND_PX + 130), fill=colour)
    return downsampled(image)


def _snow(random: RandomStream) -> Image.Image:
    """Large flakes over white drifts, under a pale winter sky."""
    image = blank_canvas(Rgb(0, 0, 0))
    fade(image, Rgb(150, 172, 196), Rgb(214, 224, 234), 0, BACKGROUND_PX)
    draw = ImageDraw.Draw(image)
    for colour, height in ((Rgb(226, 234, 243), 100), (Rgb(243, 247, 251), 64)):
        x = random.integer(-100, 100)
        draw.ellipse((x - 190, BACKGROUND_PX - height, x + 210, BACKGROUND_PX + 150), fill=colour)
        draw.ellipse((x + 90, BACKGROUND_PX - height + 16, x + 450, BACKGROUND_PX + 150), fill=colour)
    for _ in range(random.integer(34, 50)):
        x, y, size = random.integer(0, BACKGROUND_PX), random.integer(-4, 190), random.integer(3, 6)
        draw.ellipse((x, y, x + size, y + size), fill=PAPER)
    return downsampled(image)


def _water(random: RandomStream) -> Image.Image:
    """Rows of scalloped waves, paler towards the top."""
    image = blank_canvas(Rgb(0, 0, 0))
    fade(image, Rgb(170, 219, 236), Rgb(140, 204, 228), 0, BACKGROUND_PX)
    draw = ImageDraw.Draw(image)
    radius = random.integer(17, 23)
    height = radius * 3 // 4
    for row, y in enumerate(range(random.integer(5, 35), BACKGROUND_PX + height, height)):
        share = min(100, 100 * y // BACKGROUND_PX)
        fill = mix(Rgb(146, 207, 230), Rgb(64, 142, 200), share)
        edge = mix(Rgb(206, 236, 245), Rgb(120, 188, 226), share)
        for x in range(-radius * (row % 2 + 1), BACKGROUND_PX + radius, 2 * radius):
            draw.ellipse((x, y, x + 2 * radius, y + 2 * radius), fill=edge)
            draw.ellipse((x, y + 3, x + 2 * radius, y + 2 * radius + 3), fill=fill)
    return downsampled(image)


_PATTERNS: dict[str, Callable[[Rgb, RandomStream], Image.Image]] = {
    "plain": _plain,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "gradient": _gradient,
    "noise": _noise,
}
_LANDSCAPES: dict[str, Callable[[RandomStream], Image.Image]] = {
    "grass": _grass,
    "night": _night,
    "snow": _snow,
    "water": _water,
}
