"""The kinds of things in the world: each is a few flat outlines, the first of them at the back.

An outline says the part it plays in the colouring, never a colour: any kind comes in any colour.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from indexer.world.geometry import Outline, arc, box, burst, disc, ellipse, heart, mirrored, turned
from indexer.world.palette import COLOURS, GOLD, INK, LEAF, PAPER, WOOD, Rgb, mix

Part = Literal["main", "dark", "light", "paper", "ink", "wood", "leaf", "accent"]


class Layer(NamedTuple):
    part: Part
    outline: Outline


class Kind(NamedTuple):
    """What there is to know of a kind besides its outlines."""

    name: str
    layers: tuple[Layer, ...]
    max_turn_degrees: int


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture; right and bottom are just outside."""


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name, in a fixed order. Made once, on first use."""
    found = [*_shapes(), *_sky(), *_plants(), *_animals(), *_made()]
    return {kind.name: kind for kind in found}


def colouring(colour: str) -> dict[Part, Rgb]:
    """What each part is painted with in a thing of this colour."""
    main = COLOURS[colour]
    is_dark = colour == "black"
    return {
        "main": main,
        "dark": mix(main, PAPER, 22) if is_dark else mix(main, INK, 26),
        "light": mix(main, PAPER, 38),
        "paper": mix(PAPER, INK, 14) if colour == "white" else PAPER,
        "ink": PAPER if is_dark else INK,
        "wood": mix(WOOD, INK, 35) if colour == "brown" else WOOD,
        "leaf": mix(LEAF, INK, 25) if colour == "green" else LEAF,
        "accent": WOOD if colour in ("yellow", "orange") else GOLD,
    }


def _shapes() -> list[Kind]:
    ring = arc(0, 0, 0.92, 0.92, 0, 360) + arc(0, 0, 0.5, 0.5, 360, 0)
    return [
        Kind("circle", (Layer("main", disc(0, 0, 0.9)),), 0),
        Kind("square", (Layer("main", box(-0.78, -0.78, 0.78, 0.78)),), 30),
        Kind("triangle", (Layer("main", ((0, -0.92), (0.95, 0.75), (-0.95, 0.75))),), 40),
        Kind("diamond", (Layer("main", ((0, -0.98), (0.66, 0), (0, 0.98), (-0.66, 0))),), 12),
        Kind("star", (Layer("main", burst(0, 0.06, 1.0, 0.44, 5)),), 36),
        Kind("heart", (Layer("main", heart()),), 16),
        Kind("ring", (Layer("main", ring),), 0),
    ]


def _sky() -> list[Kind]:
    crescent = arc(0, 0, 0.95, 0.95, 50, 310) + arc(0.35, 0, 0.76, 0.76, 289, 71)
    puffs = ((-0.52, 0.18, 0.4), (-0.12, -0.14, 0.52), (0.42, 0.06, 0.44))
    cloud = (Layer("main", box(-0.52, 0.12, 0.62, 0.58)), *(Layer("main", disc(*puff)) for puff in puffs))
    return [
        Kind("moon", (Layer("main", crescent),), 35),
        Kind(
            "sun",
            (Layer("dark", burst(0, 0, 1.0, 0.7, 12)), Layer("main", disc(0, 0, 0.62))),
            15,
        ),
        Kind("cloud", (*cloud, Layer("main", disc(0.62, 0.3, 0.28))), 0),
    ]


def _plants() -> list[Kind]:
    petals = tuple(
        Layer("main", turned(ellipse(0, -0.72, 0.2, 0.3), turn, (0, -0.28))) for turn in range(0, 360, 60)
    )
    flower = (
        Layer("leaf", box(-0.06, -0.2, 0.06, 0.98)),
        Layer("leaf", ellipse(0.26, 0.62, 0.28, 0.12, -32)),
        Layer("leaf", ellipse(-0.24, 0.74, 0.26, 0.11, 30)),
        *petals,
        Layer("accent", disc(0, -0.28, 0.2)),
    )
    tree = (
        Layer("wood", ((-0.12, 0.2), (0.12, 0.2), (0.18, 0.98), (-0.18, 0.98))),
        Layer("dark", disc(0.38, 0.06, 0.44)),
        Layer("main", disc(-0.36, 0.08, 0.44)),
        Layer("main", disc(0.04, -0.38, 0.56)),
        Layer("light", disc(-0.14, -0.52, 0.2)),
    )
    mushroom = (
        Layer("paper", ((-0.2, 0.0), (0.2, 0.0), (0.3, 0.92), (-0.3, 0.92))),
        Layer("main", (*arc(0, 0.12, 0.95, 0.98, 180, 360), *arc(0, 0.12, 0.95, 0.2, 0, 180))),
        Layer("paper", disc(-0.42, -0.2, 0.15)),
        Layer("paper", disc(0.12, -0.5, 0.18)),
        Layer("paper", disc(0.52, -0.1, 0.13)),
    )
    return [Kind("flower", flower, 10), Kind("tree", tree, 4), Kind("mushroom", mushroom, 8)]


def _animals() -> list[Kind]:
    fish = (
        Layer("dark", ((-0.4, 0), (-0.98, -0.5), (-0.84, 0), (-0.98, 0.5))),
        Layer("dark", ((-0.2, -0.36), (0.1, -0.74), (0.42, -0.34))),
        Layer("main", ellipse(0.18, 0, 0.76, 0.48)),
        Layer("light", ellipse(0.1, 0.12, 0.26, 0.16, 12)),
        Layer("paper", disc(0.6, -0.12, 0.13)),
        Layer("ink", disc(0.63, -0.12, 0.07)),
    )
    wing, lower = ellipse(0.5, -0.36, 0.42, 0.5, 28), ellipse(0.4, 0.4, 0.32, 0.4, -30)
    spot = disc(0.54, -0.4, 0.16)
    butterfly = (
        *(Layer("dark", outline) for outline in (lower, mirrored(lower))),
        *(Layer("main", outline) for outline in (wing, mirrored(wing))),
        *(Layer("light", outline) for outline in (spot, mirrored(spot))),
        Layer("ink", ellipse(0, 0.02, 0.09, 0.62)),
    )
    ear: Outline = ((0.2, -0.5), (0.74, -0.98), (0.82, -0.1))
    inner: Outline = ((0.42, -0.5), (0.66, -0.74), (0.7, -0.3))
    eye, whisker = ellipse(0.32, -0.02, 0.1, 0.15), ((0.34, 0.36), (0.94, 0.24), (0.94, 0.29), (0.34, 0.41))
    cat = (
        *(Layer("main", outline) for outline in (ear, mirrored(ear))),
        *(Layer("light", outline) for outline in (inner, mirrored(inner))),
        Layer("main", ellipse(0, 0.15, 0.86, 0.74)),
        *(Layer("ink", outline) for outline in (eye, mirrored(eye), whisker, mirrored(whisker))),
        Layer("light", ellipse(0, 0.4, 0.3, 0.2)),
        Layer("ink", ((-0.1, 0.26), (0.1, 0.26), (0, 0.4))),
    )
    return [Kind("fish", fish, 12), Kind("butterfly", butterfly, 25), Kind("cat", cat, 8)]


def _made() -> list[Kind]:
    house = (
        Layer("dark", box(0.36, -0.84, 0.58, -0.2)),
        Layer("main", box(-0.72, -0.12, 0.72, 0.92)),
        Layer("dark", ((-0.98, -0.04), (0, -0.92), (0.98, -0.04))),
        Layer("dark", box(-0.16, 0.34, 0.2, 0.92)),
        Layer("paper", box(-0.56, 0.14, -0.28, 0.44)),
        Layer("paper", box(0.32, 0.14, 0.6, 0.44)),
    )
    boat = (
        Layer("wood", box(-0.05, -0.95, 0.05, 0.4)),
        Layer("paper", ((0.12, -0.86), (0.84, 0.24), (0.12, 0.24))),
        Layer("light", ((-0.12, -0.6), (-0.12, 0.24), (-0.66, 0.24))),
        Layer("main", ((-0.98, 0.36), (0.98, 0.36), (0.62, 0.9), (-0.66, 0.9))),
    )
    balloon = (
        Layer("ink", ((-0.02, 0.5), (0.03, 0.5), (0.1, 0.76), (0.03, 0.99), (-0.02, 0.99), (0.04, 0.76))),
        Layer("dark", ((0, 0.38), (0.13, 0.6), (-0.13, 0.6))),
        Layer("main", ellipse(0, -0.26, 0.62, 0.72)),
        Layer("light", ellipse(-0.24, -0.5, 0.11, 0.2, 24)),
    )
    handle = arc(0.42, 0.08, 0.5, 0.46, -90, 90) + arc(0.42, 0.08, 0.28, 0.24, 90, -90)
    rounded_foot = (*arc(0.3, 0.6, 0.26, 0.26, 0, 90), *arc(-0.52, 0.6, 0.26, 0.26, 90, 180))
    mug = (
        Layer("dark", handle),
        Layer("main", ((-0.82, -0.6), (0.6, -0.6), *rounded_foot)),
        Layer("dark", ellipse(-0.11, -0.6, 0.71, 0.18)),
        Layer("wood", ellipse(-0.11, -0.56, 0.58, 0.11)),
    )
    return [Kind("house", house, 5), Kind("boat", boat, 8), Kind("balloon", balloon, 10), Kind("mug", mug, 8)]
