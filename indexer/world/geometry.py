"""Outlines as points in a unit square that reaches from -1 to 1, y downwards: no pixels and no colours."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

Length = int | float
Point = tuple[Length, Length]
Outline = tuple[Point, ...]

UNIT = 1 << 12  # a length of 1, once outlines are whole numbers
_FULL = 1 << 14  # a sine of 1
_SHIFT = 12 + 14
_HALF = 1 << (_SHIFT - 1)


class Pose(NamedTuple):
    """The position of an outline on the image, in pixels of the canvas."""

    x: int
    y: int
    radius: int
    turn_degrees: int
    mirrored: bool

    def place(self, points: Int64[np.ndarray, "point 2"]) -> Int64[np.ndarray, "point 2"]:
        """Converts `UNIT`s to pixels of the canvas in integers, so that every machine rounds alike."""
        angle = math.radians(self.turn_degrees)
        cos, sin = round(_FULL * math.cos(angle)), round(_FULL * math.sin(angle))
        flip = -1 if self.mirrored else 1
        turn = np.array(((flip * cos, flip * sin), (-sin, cos)), dtype=np.int64)
        placed: Int64[np.ndarray, "point 2"] = (self.radius * (points @ turn) + _HALF) >> _SHIFT
        placed += (self.x, self.y)
        return placed


def whole(outline: Outline) -> Int64[np.ndarray, "point 2"]:
    """The outline's points, rounded to whole `UNIT`s."""
    return np.array([(round(UNIT * x), round(UNIT * y)) for x, y in outline], dtype=np.int64)


def arc(x: Length, y: Length, rx: Length, ry: Length, start: int, end: int, n_points: int = 40) -> Outline:
    """An arc from `start` to `end` degrees, clockwise from 3 o'clock; counterclockwise if `end` < `start`."""
    step = (end - start) / (n_points - 1)
    angles = (math.radians(start + step * number) for number in range(n_points))
    return tuple((x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles)


def ellipse(x: Length, y: Length, rx: Length, ry: Length, turn_degrees: int = 0) -> Outline:
    return rotated(arc(x, y, rx, ry, 0, 360), turn_degrees, (x, y))


def disc(x: Length, y: Length, radius: Length) -> Outline:
    return ellipse(x, y, radius, radius)


def box(left: Length, top: Length, right: Length, bottom: Length) -> Outline:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def burst(x: Length, y: Length, outer: Length, inner: Length, n_tips: int) -> Outline:
    """A star whose first tip points upwards."""
    radii = (outer, inner) * n_tips
    angles = (math.pi * (number / n_tips - 0.5) for number in range(2 * n_tips))
    return tuple((x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True))


def heart() -> Outline:
    """The classic curve (16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t), scaled to the unit square."""
    angles = (2 * math.pi * number / 64 for number in range(64))
    return tuple(
        (
            math.sin(t) ** 3 * 0.98,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16.5 - 0.12,
        )
        for t in angles
    )


def rotated(outline: Outline, degrees: int, about: Point = (0.0, 0.0)) -> Outline:
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    ox, oy = about
    return tuple(
        (ox + (x - ox) * cos - (y - oy) * sin, oy + (x - ox) * sin + (y - oy) * cos) for x, y in outline
    )


def mirrored(outline: Outline) -> Outline:
    return tuple((-x, y) for x, y in outline)
