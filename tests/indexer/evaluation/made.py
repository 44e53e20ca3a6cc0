"""Truths made by hand: each scene said in a few words."""

from collections.abc import Sequence

import numpy as np

from indexer.evaluation.concepts import concepts
from indexer.evaluation.scenes import ABSENT, BACKGROUNDS, COLOUR_NAMES, KINDS, TINT_NAMES, SceneTruths

N_PATCHES = 4


def truths(
    *things: str, on: Sequence[str] = (), at: Sequence[tuple[int, int]] = (), seen: Sequence[object] = ()
) -> SceneTruths:
    """Of one scene each, `red heart, blue cat`; `on` such as `mint stripes` or `grass`, by default `grass`;
    `at` the thirds of the largest; `seen` a list for each scene, of the patches at which each thing is seen.
    """
    n = len(things)
    kinds, colours = np.full((2, n, 4), ABSENT, dtype=np.int8)
    visible = np.zeros((n, 4, N_PATCHES), dtype=bool)
    for scene, words in enumerate(things):
        for number, thing in enumerate(words.split(", ")):
            colour, kind = thing.split()
            kinds[scene, number], colours[scene, number] = KINDS.index(kind), COLOUR_NAMES.index(colour)
    for scene, patches in enumerate(seen):
        for number, found in enumerate(patches):  # type: ignore[arg-type, var-annotated]
            visible[scene, number, found] = True
    places = [place.split() for place in [*on, *["grass"] * (n - len(on))]]
    thirds = np.array([*at, *[(1, 1)] * (n - len(at))], dtype=np.int8)
    return SceneTruths(
        kinds=kinds,
        colours=colours,
        backgrounds=np.array([BACKGROUNDS.index(words[-1]) for words in places], dtype=np.int8),
        tints=np.array(
            [TINT_NAMES.index(words[0]) if len(words) == 2 else ABSENT for words in places], dtype=np.int8
        ),
        rows=thirds[:, 0],
        columns=thirds[:, 1],
        centred=visible,
        touched=visible,
    )


def number_of(name: str) -> int:
    """Of the concept with that name."""
    (found,) = [number for number, concept in enumerate(concepts()) if concept.name == name]
    return found
