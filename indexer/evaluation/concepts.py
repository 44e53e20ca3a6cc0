"""The concepts that a feature may stand for, and which scenes show which. Fixed before any model was scored.

kind                 at least one thing is of that kind
colour               at least one thing has that colour
kind and colour      at least one thing has both
background           the kind of the background
tint                 the colour of the background, where its kind has no colours of its own
background and tint  both
count                how many things there are
place                the third of the image, by rows or by columns, that holds the middle of the largest
                     thing's box; the largest is the thing of which most pixels can be seen
"""

from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool

from indexer.evaluation.scenes import BACKGROUNDS, COLOUR_NAMES, KINDS, N_THIRDS, TINT_NAMES, SceneTruths
from indexer.world.backgrounds import tinted_kinds
from indexer.world.captions import a, place_prompts
from indexer.world.scene_objects import MAX_THINGS

Group = Literal[
    "kind", "colour", "kind and colour", "background", "tint", "background and tint", "count", "place"
]
GROUPS: tuple[Group, ...] = get_args(Group)


class Concept(NamedTuple):
    """One column of `shown`."""

    group: Group
    name: str
    text: str | None
    """A search query for the concept, in the words of the captions; None if captions have no words for it."""
    kind: int | None = None
    """The number of its kind in `KINDS`; None if the concept names no kind of thing."""
    colour: int | None = None
    """The number of its colour in `COLOUR_NAMES`; None if the concept names no colour of a thing."""


@cache
def concepts() -> tuple[Concept, ...]:
    """All concepts, in the order of the columns of `shown`."""
    return (
        *(Concept("kind", kind, a(kind), kind=number) for number, kind in enumerate(KINDS)),
        *(
            Concept("colour", colour, f"something {colour}", colour=number)
            for number, colour in enumerate(COLOUR_NAMES)
        ),
        *(
            Concept("kind and colour", f"{colour} {kind}", a(f"{colour} {kind}"), k, c)
            for k, kind in enumerate(KINDS)
            for c, colour in enumerate(COLOUR_NAMES)
        ),
        *(Concept("background", f"on {kind}", place_prompts(kind)[0]) for kind in BACKGROUNDS),
        *(Concept("tint", f"on {tint}", a(f"{tint} background")) for tint in TINT_NAMES),
        *(
            Concept("background and tint", f"on {tint} {kind}", _tinted(kind, tint))
            for kind in tinted_kinds()
            for tint in TINT_NAMES
        ),
        *(Concept("count", f"things: {n}", None) for n in range(1, MAX_THINGS + 1)),
        *(Concept("place", f"largest thing {place}", None) for place in ("at the top", "mid-height", "low")),
        *(Concept("place", f"largest thing {place}", None) for place in ("left", "in the middle", "right")),
    )


def shown(truths: SceneTruths) -> Bool[np.ndarray, "scene concept"]:
    """True where a scene shows a concept; columns are in the order of `concepts`."""
    kind = truths.kinds[:, :, None] == np.arange(len(KINDS))
    colour = truths.colours[:, :, None] == np.arange(len(COLOUR_NAMES))
    # Of one and the same thing: a red cat beside a blue dog is no red dog.
    both = (kind[:, :, :, None] & colour[:, :, None, :]).any(axis=1).reshape(len(truths), -1)
    tint = truths.tints[:, None] == np.arange(len(TINT_NAMES))
    tinted = [tint & (truths.backgrounds == BACKGROUNDS.index(name))[:, None] for name in tinted_kinds()]
    return np.concatenate(
        [
            kind.any(axis=1),
            colour.any(axis=1),
            both,
            truths.backgrounds[:, None] == np.arange(len(BACKGROUNDS)),
            tint,
            *tinted,
            truths.n_things[:, None] == np.arange(1, MAX_THINGS + 1),
            truths.rows[:, None] == np.arange(N_THIRDS),
            truths.columns[:, None] == np.arange(N_THIRDS),
        ],
        axis=1,
    )


def _tinted(kind: str, tint: str) -> str:
    return next(prompt for prompt in place_prompts(kind) if tint in prompt.split())
