"""Backgrounds that are places, with colours of their own."""

from PIL import Image, ImageDraw

from indexer.world.background_canvas import SHEET_PX, fade, finished, sheet
from indexer.world.palette import COLOURS, PAPER, Rgb, mix
from indexer.world.sampling import Draws

_BLACK = Rgb(0, 0, 0)


def grass(draws: Draws) -> Image.Image:
    """A meadow under the sky, with blades and a few daisies."""
    image, horizon = sheet(_BLACK), draws.integer(85, 125)
    draw = ImageDraw.Draw(image)
    fade(image, Rgb(167, 211, 240), Rgb(231, 243, 240), 0, horizon)
    hill = draws.integer(-75, 75)
    draw.ellipse((hill - 100, horizon - 23, hill + 280, horizon + 150), fill=Rgb(142, 198, 118))
    fade(image, Rgb(133, 192, 104), Rgb(84, 152, 76), horizon, SHEET_PX)
    for _ in range(60):
        x, y = draws.integer(0, SHEET_PX), draws.integer(horizon + 7, SHEET_PX + 5)
        lean, height = draws.integer(-3, 3), draws.integer(7, 13)
        shade = mix(Rgb(70, 138, 66), Rgb(156, 205, 110), draws.integer(0, 100))
        draw.polygon([(x - 2, y), (x + lean, y - height), (x + 2, y)], fill=shade)
    for _ in range(draws.integer(0, 6)):
        x, y = draws.integer(5, SHEET_PX - 5), draws.integer(horizon + 15, SHEET_PX - 5)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=PAPER)
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=COLOURS["yellow"])
    return finished(image)


def night(draws: Draws) -> Image.Image:
    """Stars over dark hills."""
    image = sheet(_BLACK)
    fade(image, Rgb(22, 26, 58), Rgb(66, 62, 118), 0, SHEET_PX)
    draw = ImageDraw.Draw(image)
    for _ in range(draws.integer(26, 44)):
        x, y, size = draws.integer(0, SHEET_PX), draws.integer(0, 200), draws.integer(1, 3)
        colour = mix(
            mix(PAPER, Rgb(150, 170, 255), draws.integer(0, 60)), Rgb(34, 36, 78), draws.integer(0, 50)
        )
        draw.ellipse((x, y, x + size, y + size), fill=colour)
    for colour, height in ((Rgb(38, 38, 80), 55), (Rgb(25, 25, 56), 35)):
        x = draws.integer(-100, 100)
        draw.ellipse((x - 150, SHEET_PX - height, x + 230, SHEET_PX + 130), fill=colour)
        draw.ellipse((x + 130, SHEET_PX - height + 13, x + 450, SHEET_PX + 130), fill=colour)
    return finished(image)


def snow(draws: Draws) -> Image.Image:
    """Large flakes over white drifts, under a pale winter sky."""
    image = sheet(_BLACK)
    fade(image, Rgb(150, 172, 196), Rgb(214, 224, 234), 0, SHEET_PX)
    draw = ImageDraw.Draw(image)
    for colour, height in ((Rgb(226, 234, 243), 100), (Rgb(243, 247, 251), 64)):
        x = draws.integer(-100, 100)
        draw.ellipse((x - 190, SHEET_PX - height, x + 210, SHEET_PX + 150), fill=colour)
        draw.ellipse((x + 90, SHEET_PX - height + 16, x + 450, SHEET_PX + 150), fill=colour)
    for _ in range(draws.integer(34, 50)):
        x, y, size = draws.integer(0, SHEET_PX), draws.integer(-4, 190), draws.integer(3, 6)
        draw.ellipse((x, y, x + size, y + size), fill=PAPER)
    return finished(image)


def water(draws: Draws) -> Image.Image:
    """Rows of scalloped waves, paler towards the top."""
    image = sheet(_BLACK)
    fade(image, Rgb(170, 219, 236), Rgb(140, 204, 228), 0, SHEET_PX)
    draw = ImageDraw.Draw(image)
    radius = draws.integer(17, 23)
    height = radius * 3 // 4
    for row, y in enumerate(range(draws.integer(5, 35), SHEET_PX + height, height)):
        share = min(100, 100 * y // SHEET_PX)
        fill = mix(Rgb(146, 207, 230), Rgb(64, 142, 200), share)
        edge = mix(Rgb(206, 236, 245), Rgb(120, 188, 226), share)
        for x in range(-radius * (row % 2 + 1), SHEET_PX + radius, 2 * radius):
            draw.ellipse((x, y, x + 2 * radius, y + 2 * radius), fill=edge)
            draw.ellipse((x, y + 3, x + 2 * radius, y + 2 * radius + 3), fill=fill)
    return finished(image)
