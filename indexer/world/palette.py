"""The colours of the world: twelve for things, eight tints for backgrounds."""

from collections.abc import Sequence
from typing import NamedTuple


class Rgb(NamedTuple):
    red: int
    green: int
    blue: int


def _rgb(hex_digits: str) -> Rgb:
    return Rgb(*bytes.fromhex(hex_digits))


COLOURS: dict[str, Rgb] = {
    "red": _rgb("dd3f46"),
    "orange": _rgb("f08533"),
    "yellow": _rgb("f7c935"),
    "green": _rgb("4aa558"),
    "teal": _rgb("1f9e9c"),
    "blue": _rgb("3a78d6"),
    "purple": _rgb("8556b8"),
    "pink": _rgb("f283ae"),
    "brown": _rgb("8d5b3a"),
    "gray": _rgb("878d98"),
    "white": _rgb("fbf8f1"),
    "black": _rgb("2c2b35"),
}

TINTS: dict[str, Rgb] = {
    "cream": _rgb("f6ecd6"),
    "mint": _rgb("cfead6"),
    "sky": _rgb("cbe3f5"),
    "lavender": _rgb("ded5f0"),
    "peach": _rgb("fbd8c3"),
    "rose": _rgb("f6cfd6"),
    "sand": _rgb("e6d3ae"),
    "slate": _rgb("5d6b80"),
}

# A thing of the second colour would be hard to see on the first.
TOO_NEAR: dict[str, tuple[str, ...]] = {
    "cream": ("white",),
    "mint": ("white",),
    "sky": ("white",),
    "lavender": ("white",),
    "peach": ("white", "pink"),
    "rose": ("white", "pink"),
    "sand": ("white", "yellow"),
    "slate": ("gray", "black", "brown"),
}

INK = _rgb("2c2b35")
PAPER = _rgb("fffaf0")
WOOD = _rgb("7c5236")
LEAF = _rgb("5c9c4a")
GOLD = _rgb("f8c640")


def shade(colour: Rgb, lightness: int, shifts: Sequence[int]) -> Rgb:
    """The colour with each channel (0 to 255) moved by `lightness` and by its own shift."""
    return Rgb(
        *(min(255, max(0, part + lightness + shift)) for part, shift in zip(colour, shifts, strict=True))
    )


def mix(first: Rgb, second: Rgb, percent: int) -> Rgb:
    """A mix of two colours with `percent` of the second, rounded down."""
    return Rgb(*((a * (100 - percent) + b * percent) // 100 for a, b in zip(first, second, strict=True)))
