"""Is a feature strongest on the thing that it represents? Judged by the patch of its maximum at `any`.

Measured for features whose best concept is a kind of thing, or a kind and colour, that all of their top nine
scenes show. A scene is a hit if the thing is visible at the very middle of the patch (the pointing game of
Zhang et al., 2016, without its tolerance); if several things match the concept, any of them counts. A maximum
at CLS, which is nowhere in the image, is a miss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from indexer.evaluation.concepts import Concept
from indexer.evaluation.scenes import SceneTruths
from indexer.evaluation.score import N_TOP, Best, Top

_MIN_HITS = 8  # of nine: the least that is 80 %


@dataclass(frozen=True)
class PeakLocation:
    """Shares of all top scenes of all these features (`features`: of the features); None without features."""

    n_features: int
    inside: float | None
    """Share of the scenes in which the thing is visible at the middle of the patch."""
    touching: float | None
    """Share of the scenes in which the thing is visible in at least one pixel of the patch."""
    at_cls: float | None
    chance: float | None
    """`inside` for a patch picked at random in every scene."""
    features: float | None
    """Share of the features that are inside in at least eight of their nine scenes."""


def located(
    top: Top,
    positions: Int64[np.ndarray, "feature rank=9"],
    best: Best,
    truths: SceneTruths,
    concepts: Sequence[Concept],
) -> PeakLocation:
    """Measures where maxima lie; `positions` are token numbers, 0 for CLS."""
    chosen = np.array([concept.kind is not None for concept in concepts])[best.concepts]
    chosen &= best.n_showing == N_TOP
    if not chosen.any():
        return PeakLocation(0, None, None, None, None, None)
    scenes, tokens = top.scenes[chosen], positions[chosen]
    fitting = _fitting([concepts[number] for number in best.concepts[chosen]], scenes, truths)
    patches = np.maximum(tokens - 1, 0)
    is_patch = tokens > 0
    inside = is_patch & _any_at(truths.centred, fitting, scenes, patches)
    touching = is_patch & _any_at(truths.touched, fitting, scenes, patches)
    areas = (truths.centred[scenes] & fitting[..., None]).any(axis=2).mean(axis=2)
    return PeakLocation(
        n_features=int(chosen.sum()),
        inside=float(inside.mean()),
        touching=float(touching.mean()),
        at_cls=float((~is_patch).mean()),
        chance=float(areas.mean()),
        features=float((inside.sum(axis=1) >= _MIN_HITS).mean()),
    )


def _fitting(
    wanted: Sequence[Concept], scenes: Int64[np.ndarray, "feature rank"], truths: SceneTruths
) -> Bool[np.ndarray, "feature rank thing"]:
    """True for the things of each scene that match the feature's concept."""
    kinds = np.array([concept.kind for concept in wanted])[:, None, None]
    colours = np.array([-1 if concept.colour is None else concept.colour for concept in wanted])[
        :, None, None
    ]
    found: Bool[np.ndarray, "feature rank thing"] = (truths.kinds[scenes] == kinds) & (
        (colours < 0) | (truths.colours[scenes] == colours)
    )
    return found


def _any_at(
    visible: Bool[np.ndarray, "scene thing patch"],
    fitting: Bool[np.ndarray, "feature rank thing"],
    scenes: Int64[np.ndarray, "feature rank"],
    patches: Int64[np.ndarray, "feature rank"],
) -> Bool[np.ndarray, "feature rank"]:
    found: Bool[np.ndarray, "feature rank"] = (visible[scenes, :, patches] & fitting).any(axis=2)
    return found
