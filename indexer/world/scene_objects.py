"""Chooses the things of a scene, their colours and their positions; does not paint them."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from indexer.world.canvas import CANVAS_PX
from indexer.world.geometry import Pose
from indexer.world.kind import Kind
from indexer.world.kinds import kinds
from indexer.world.palette import COLOURS, Rgb, shade
from indexer.world.sampling import RandomStream

# Radius in canvas pixels, smallest and largest, by the number of things.
_RADII = {1: (96, 168), 2: (76, 118), 3: (62, 96), 4: (54, 84)}
MAX_THINGS = max(_RADII)
_TRIES = 60
# Between two centres, in per cent of both radii: at least, and less than.
_APART, _OVERLAP = (100, 10_000), (60, 82)
_MARGIN = 6
_LIGHTNESS_JITTER, _COLOUR_JITTER = 9, 5  # of 255

Difference = Literal["kind", "colour"]


class TwinChange(NamedTuple):
    """Twin number `twin` has its own kind or colour for one thing; all else equals the first twin, 0."""

    difference: Difference
    twin: int


class SceneObject(NamedTuple):
    kind: Kind
    colour: str
    main: Rgb
    """The object's own shade of that colour."""
    pose: Pose


def choose_objects(
    random: RandomStream, n_things: int, names: Sequence[str], colours: Sequence[str], change: TwinChange
) -> list[SceneObject]:
    """Chooses objects, back to front. Every change uses the same draws, so that twins share all else."""
    poses = _place(n_things, random)
    changed = random.integer(0, len(poses) - 1)
    return [
        _make_object(random, pose, names, colours, change if number == changed else TwinChange("kind", 0))
        for number, pose in enumerate(poses)
    ]


def _make_object(
    random: RandomStream, pose: Pose, names: Sequence[str], colours: Sequence[str], change: TwinChange
) -> SceneObject:
    kind_twin, colour_twin = (change.twin, 0) if change.difference == "kind" else (0, change.twin)
    kind = kinds()[random.shuffled(names)[kind_twin]]
    colour = random.shuffled(colours)[colour_twin]
    turn = random.integer(-100, 100) * kind.max_turn_degrees // 100
    lightness = random.integer(-_LIGHTNESS_JITTER, _LIGHTNESS_JITTER)
    shifts = [random.integer(-_COLOUR_JITTER, _COLOUR_JITTER) for _ in range(3)]
    pose = pose._replace(turn_degrees=turn, mirrored=random.one_in(2))
    return SceneObject(kind, colour, shade(COLOURS[colour], lightness, shifts), pose)


def _place(n_things: int, random: RandomStream) -> list[Pose]:
    """Places discs apart from each other or, in half of all scenes, the second partly over the first.

    Returns fewer discs than `n_things` if there is no room.
    """
    overlapping = random.one_in(2)
    poses: list[Pose] = []
    for _ in range(n_things * _TRIES):
        radius = random.integer(*_RADII[n_things])
        x, y = (random.integer(radius + _MARGIN, CANVAS_PX - radius - _MARGIN) for _ in range(2))
        pose = Pose(x, y, radius, 0, False)
        gaps = [_gap_percent(pose, other) for other in poses]
        wanted = _OVERLAP if overlapping and len(poses) == 1 else _APART
        if all(wanted[0] <= gap < wanted[1] for gap in gaps):
            poses.append(pose)
        if len(poses) == n_things:
            break
    return sorted(poses, key=lambda pose: pose.y)


def _gap_percent(one: Pose, other: Pose) -> int:
    """The distance of their centres as a percentage of the sum of both radii, rounded down."""
    squared = (one.x - other.x) ** 2 + (one.y - other.y) ** 2
    return math.isqrt(10_000 * squared // (one.radius + other.radius) ** 2)
