"""The kinds of things there are, and what each part of one is painted with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from indexer.world.creatures import animals, plants
from indexer.world.kind import Kind, Part
from indexer.world.man_made import made_things
from indexer.world.palette import GOLD, INK, LEAF, PAPER, WOOD, Rgb, mix
from indexer.world.shapes import shapes, sky
from scopeview.errors import InputError


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the picture, of the whole thing, even where another covers it;
    right and bottom are just outside."""


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name, in a fixed order. Made once, on first use."""
    found = [*shapes(), *sky(), *plants(), *animals(), *made_things()]
    return {kind.name: kind for kind in found}


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, in the world's own order. Raises `InputError` for an unknown one, or for none."""
    if unknown := sorted(set(names) - kinds().keys()):
        raise InputError(f"there is no kind {', '.join(map(repr, unknown))}; there are {', '.join(kinds())}")
    if not names:
        raise InputError(f"no kind was named; there are {', '.join(kinds())}")
    return tuple(name for name in kinds() if name in names)


def colouring(colour: str, main: Rgb) -> dict[Part, Rgb]:
    """What each part is painted with in a thing of this colour, `main` being its shade of it."""
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
