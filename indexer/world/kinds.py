"""The kinds of things, and the colour of each part of a thing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from indexer.world.creatures import animals, plants
from indexer.world.geometry import arc, box, burst, disc, heart
from indexer.world.kind import Kind, Layer, Part
from indexer.world.man_made import man_made_kinds
from indexer.world.palette import GOLD, INK, LEAF, PAPER, WOOD, Rgb, mix
from scopeview.errors import InputError


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the image, of the whole thing, even where another covers it;
    right and bottom are exclusive."""


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name, in a fixed order. Made once, on first use."""
    found = [*shapes(), *sky(), *plants(), *animals(), *man_made_kinds()]
    return {kind.name: kind for kind in found}


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The distinct names, in the world's order. Raises `InputError` for an unknown name, or for no names."""
    if unknown := sorted(set(names) - kinds().keys()):
        raise InputError(f"there is no kind {', '.join(map(repr, unknown))}; there are {', '.join(kinds())}")
    if not names:
        raise InputError(f"no kind was named; there are {', '.join(kinds())}")
    return tuple(name for name in kinds() if name in names)


def colouring(colour: str, main: Rgb) -> dict[Part, Rgb]:
    """The color of each part of an object of this color; `main` is the object's own shade of it."""
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


def shapes() -> list[Kind]:
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


def sky() -> list[Kind]:
    crescent = arc(0, 0, 0.95, 0.95, 50, 310) + arc(0.35, 0, 0.76, 0.76, 289, 71)
    sun = (Layer("dark", burst(0, 0, 1.0, 0.7, 12)), Layer("main", disc(0, 0, 0.62)))
    puffs = ((-0.52, 0.18, 0.4), (-0.12, -0.14, 0.52), (0.42, 0.06, 0.44), (0.62, 0.3, 0.28))
    cloud = (box(-0.52, 0.12, 0.62, 0.58), *(disc(*puff) for puff in puffs))
    return [
        Kind("moon", (Layer("main", crescent),), 35),
        Kind("sun", sun, 15),
        Kind("cloud", tuple(Layer("main", outline) for outline in cloud), 6),
    ]
