"""Draws social cards, 1200 x 630: grids of images with a few lines of text. Pure."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from app.assets import STATIC_DIR

WIDTH_PX, HEIGHT_PX = 1200, 630
FONT = STATIC_DIR / "vendor" / "dejavu-sans-2.35.ttf"
_PAGE, _TEXT, _QUIET, _EMPTY = (255, 255, 255), (23, 24, 28), (95, 96, 104), (233, 233, 236)
_MARGIN, _GAP = 45, 4

Thumb = Image.Image | None
"""A thumbnail; None becomes an empty cell."""


class Line(NamedTuple):
    """One line of words."""

    text: str
    size_px: int
    quiet: bool = False
    bold: bool = False


@dataclass(frozen=True)
class Panel:
    """A grid of nine images by rank, and what is written below it."""

    nine: Sequence[Thumb]
    title: str = ""


def draw_feature(nine: Sequence[Thumb], lines: Sequence[Line], foot: str) -> bytes:
    """Draws the grid on the left, `lines` beside it from the top, and `foot` at the bottom."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), _PAGE)
    side = HEIGHT_PX - 2 * _MARGIN
    image.paste(grid(nine, side), (_MARGIN, _MARGIN))
    left = 2 * _MARGIN + side
    _write(image, lines, left, _MARGIN, WIDTH_PX - left - _MARGIN)
    _write(image, [Line(foot, 26, quiet=True)], left, HEIGHT_PX - _MARGIN - 32, WIDTH_PX - left - _MARGIN)
    return png(image)


def draw_index(panels: Sequence[Panel], lines: Sequence[Line]) -> bytes:
    """Draws up to three grids side by side below the lines."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), _PAGE)
    _write(image, lines, _MARGIN, _MARGIN - 8, WIDTH_PX - 2 * _MARGIN)
    side, between = 340, 45
    for i, panel in enumerate(panels[:3]):
        left = _MARGIN + i * (side + between)
        image.paste(grid(panel.nine, side), (left, 190))
        _write(image, [Line(panel.title, 26, quiet=True)], left, 190 + side + 14, side)
    return png(image)


def grid(nine: Sequence[Thumb], side_px: int) -> Image.Image:
    """Returns the images three by three, row by row, with the page's color between them."""
    cell = (side_px - 2 * _GAP) // 3
    sprite = Image.new("RGB", (side_px, side_px), _PAGE)
    for i in range(9):
        thumb = nine[i] if i < len(nine) else None
        shown = Image.new("RGB", (cell, cell), _EMPTY) if thumb is None else thumb.resize((cell, cell))
        sprite.paste(shown, (i % 3 * (cell + _GAP), i // 3 * (cell + _GAP)))
    return sprite


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def wrapped(text: str, font: ImageFont.FreeTypeFont, width_px: int, most: int) -> list[str]:
    """Breaks text between words into at most `most` lines; a line wider than `width_px` is cut."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = longer
            break
    return [_cut(line, font, width_px) for line in lines]


def drawable(text: str) -> str:
    """Returns the text as one line, without characters that the font lacks."""
    return " ".join("".join(letter for letter in text if _has(letter)).split())


def _write(image: Image.Image, lines: Sequence[Line], left: int, top: int, width_px: int) -> None:
    draw = ImageDraw.Draw(image)
    for line in lines:
        font = _font(line.size_px)
        for text in wrapped(drawable(line.text), font, width_px, most=2):
            colour = _QUIET if line.quiet else _TEXT
            draw.text((left, top), text, fill=colour, font=font, stroke_width=int(line.bold))
            top += round(line.size_px * 1.3)
        top += round(line.size_px * 0.25)


def _cut(line: str, font: ImageFont.FreeTypeFont, width_px: int) -> str:
    if font.getlength(line) <= width_px:
        return line
    while line and font.getlength(f"{line}…") > width_px:
        line = line[:-1]
    return f"{line.rstrip()}…"


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size_px)


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    """True if the font has this character, and does not draw its box for missing ones."""
    if letter.isspace():
        return True
    font = _font(16)
    return letter.isprintable() and bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))
