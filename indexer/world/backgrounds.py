"""What lies behind the things. Each kind paints a whole canvas and leaves everything random to `Draws`."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from indexer.world.canvas import CANVAS_PX, PICTURE_PX, Canvas
from indexer.world.draws import Draws
from indexer.world.palette import COLOURS, INK, PAPER, TINTS, TOO_NEAR, Rgb, mix


class Background(NamedTuple):
    kind: str
    tint: str | None
    """None where the kind has colours of its own."""
    avoided: tuple[str, ...]
    """Colours that could not be told from it."""


_Painter = Callable[[Canvas, Rgb, Draws], None]

# The colours each kind brings itself, and those that would be lost on it.
_OWN_COLOURS: dict[str, tuple[str, ...]] = {
    "grass": ("green", "teal"),
    "night": ("black", "blue", "gray", "brown", "purple"),
    "water": ("blue", "teal"),
}


def paint_background(draws: Draws) -> tuple[Canvas, Background]:
    kind = draws.choice(sorted(_PAINTERS))
    tint = draws.choice(list(TINTS))
    canvas = Canvas(TINTS[tint])
    _PAINTERS[kind](canvas, TINTS[tint], draws)
    if kind in _OWN_COLOURS:
        return canvas, Background(kind, None, _OWN_COLOURS[kind])
    return canvas, Background(kind, tint, TOO_NEAR[tint])


def background_kinds() -> list[str]:
    return sorted(_PAINTERS)


def _second(tint: Rgb) -> Rgb:
    """A near relative of the tint for its pattern: lighter on dark, darker on light."""
    return mix(tint, PAPER, 14) if sum(tint) < 400 else mix(tint, INK, 11)


def _plain(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    pass


def _stripes(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    width, slope = draws.integer(26, 54), draws.choice((-1, 0, 1))
    shift = slope * CANVAS_PX
    for x in range(-CANVAS_PX - draws.integer(0, width), 2 * CANVAS_PX, 2 * width):
        corners = [(x, 0), (x + width, 0), (x + width + shift, CANVAS_PX), (x + shift, CANVAS_PX)]
        canvas.draw.polygon(corners, fill=_second(tint))


def _dots(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    gap = draws.integer(44, 76)
    radius = gap * draws.integer(20, 32) // 100
    for row, y in enumerate(range(-draws.integer(0, gap), CANVAS_PX + gap, gap)):
        for x in range(-gap + (row % 2) * gap // 2, CANVAS_PX + gap, gap):
            canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_second(tint))


def _checks(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    side = draws.integer(40, 72)
    left, top = draws.integer(0, 2 * side), draws.integer(0, 2 * side)
    for row, y in enumerate(range(-top, CANVAS_PX, side)):
        for x in range(-left + (row % 2) * side, CANVAS_PX, 2 * side):
            canvas.draw.rectangle((x, y, x + side - 1, y + side - 1), fill=_second(tint))


def _gradient(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    other = TINTS[draws.choice(["peach", "rose", "lavender", "sky", "mint"])]
    _fade(canvas, tint, other, 0, CANVAS_PX)


def _fade(canvas: Canvas, top: Rgb, bottom: Rgb, start: int, end: int) -> None:
    for y in range(start, end, 4):
        colour = mix(top, bottom, 100 * (y - start) // (end - start))
        canvas.draw.rectangle((0, y, CANVAS_PX, y + 3), fill=colour)


def _noise(canvas: Canvas, tint: Rgb, draws: Draws) -> None:
    """Soft mottling, as of marbled paper: a coarse grid of shades, smoothed."""
    side = 11
    dark = mix(tint, INK, 20)
    coarse = Image.new("RGB", (side, side))
    coarse.putdata([mix(tint, dark, draws.integer(0, 100)) for _ in range(side * side)])
    smooth = coarse.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC)
    canvas.image.paste(smooth.resize(canvas.image.size, Image.Resampling.NEAREST))


def _grass(canvas: Canvas, _tint: Rgb, draws: Draws) -> None:
    """A meadow under the sky, with blades and a few daisies."""
    horizon = draws.integer(170, 250)
    _fade(canvas, Rgb(167, 211, 240), Rgb(231, 243, 240), 0, horizon)
    hill = draws.integer(-150, 150)
    canvas.draw.ellipse((hill - 200, horizon - 46, hill + 560, horizon + 300), fill=Rgb(142, 198, 118))
    _fade(canvas, Rgb(133, 192, 104), Rgb(84, 152, 76), horizon, CANVAS_PX)
    for _ in range(70):
        x, y = draws.integer(0, CANVAS_PX), draws.integer(horizon + 14, CANVAS_PX + 10)
        lean, height = draws.integer(-6, 6), draws.integer(14, 26)
        shade = mix(Rgb(70, 138, 66), Rgb(156, 205, 110), draws.integer(0, 100))
        canvas.draw.polygon([(x - 4, y), (x + lean, y - height), (x + 4, y)], fill=shade)
    for _ in range(draws.integer(0, 6)):
        x, y = draws.integer(10, CANVAS_PX - 10), draws.integer(horizon + 30, CANVAS_PX - 10)
        canvas.draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=PAPER)
        canvas.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLOURS["yellow"])


def _night(canvas: Canvas, _tint: Rgb, draws: Draws) -> None:
    """Stars over dark hills."""
    _fade(canvas, Rgb(22, 26, 58), Rgb(66, 62, 118), 0, CANVAS_PX)
    for _ in range(draws.integer(26, 44)):
        x, y, radius = draws.integer(0, CANVAS_PX), draws.integer(0, 400), draws.integer(2, 5)
        colour = (*mix(PAPER, Rgb(150, 170, 255), draws.integer(0, 60)), draws.integer(120, 255))
        canvas.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    for shade, height in ((Rgb(38, 38, 80), 110), (Rgb(25, 25, 56), 70)):
        x = draws.integer(-200, 200)
        canvas.draw.ellipse((x - 300, CANVAS_PX - height, x + 460, CANVAS_PX + 260), fill=shade)
        canvas.draw.ellipse((x + 260, CANVAS_PX - height + 26, x + 900, CANVAS_PX + 260), fill=shade)


def _water(canvas: Canvas, _tint: Rgb, draws: Draws) -> None:
    """Rows of scalloped waves, paler towards the top."""
    _fade(canvas, Rgb(170, 219, 236), Rgb(140, 204, 228), 0, CANVAS_PX)
    radius = draws.integer(30, 46)
    height = radius * 3 // 4
    for row, y in enumerate(range(draws.integer(10, 70), CANVAS_PX + height, height)):
        share = min(100, 100 * y // CANVAS_PX)
        fill = mix(Rgb(146, 207, 230), Rgb(64, 142, 200), share)
        edge = mix(Rgb(206, 236, 245), Rgb(120, 188, 226), share)
        for x in range(-radius * (row % 2 + 1), CANVAS_PX + radius, 2 * radius):
            canvas.draw.ellipse((x, y, x + 2 * radius, y + 2 * radius), fill=edge)
            canvas.draw.ellipse((x, y + 6, x + 2 * radius, y + 2 * radius + 6), fill=fill)


_PAINTERS: dict[str, _Painter] = {
    "plain": _plain,
    "stripes": _stripes,
    "dots": _dots,
    "checks": _checks,
    "gradient": _gradient,
    "noise": _noise,
    "grass": _grass,
    "night": _night,
    "water": _water,
}
