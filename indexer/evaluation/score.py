"""Which concept a feature represents, judged by its nine top scenes: arrays in, metrics out.

The precision p is the share of a feature's nine top scenes that show a concept; the base rate b is the share
of all scenes that show it. Concepts are ranked by (p - b) / (1 - b), Loevinger's H (1947): 1 if all nine show
it, however common it is; 0 if it is no more common there than anywhere. Ties go to the rarer concept, which
says more. Thus a concept that all nine show always beats one that eight show; but a rare one that seven show
may beat a common one that eight show, so that the count of eight or more is on the low side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from indexer.evaluation.concepts import GROUPS, Concept, Group
from scopeview.store.records import MIN_GRID_IMAGES

N_TOP = MIN_GRID_IMAGES
"""Only features that fire on at least this many scenes are scored."""
_AT_LEAST = 8


class Top(NamedTuple):
    """The scored features of one slot, in ascending order, each with its top scenes by rank."""

    features: Int64[np.ndarray, " feature"]
    scenes: Int64[np.ndarray, "feature rank=9"]


class Best(NamedTuple):
    """The best concept of every scored feature."""

    concepts: Int64[np.ndarray, " feature"]
    n_showing: Int8[np.ndarray, " feature"]
    """How many of the nine scenes show the concept."""
    scores: Float64[np.ndarray, " feature"]
    """Loevinger's H."""


@dataclass(frozen=True)
class Shares:
    """Share of features that match one concept. `nine`: all of the top nine show it; `eight`: at least eight
    do. None if no features were scored."""

    n_scored: int
    nine: float | None
    eight: float | None
    nine_by_group: dict[Group, float]
    """The parts of `nine`; empty if that is None."""
    mean_score: float | None


def n_showing(
    shown: Bool[np.ndarray, "scene concept"], top: Int64[np.ndarray, "feature rank=9"]
) -> Int8[np.ndarray, "feature concept"]:
    """How many of each feature's top scenes show each concept."""
    counts = np.zeros((len(top), shown.shape[1]), dtype=np.int8)
    for rank in range(top.shape[1]):
        counts += shown[top[:, rank]]
    return counts


def best_concepts(counts: Int8[np.ndarray, "feature concept"], base: Float64[np.ndarray, " concept"]) -> Best:
    """The best concept of each feature, by base rates `base`; one that every scene shows never counts."""
    rarest_first = np.argsort(base, kind="stable")
    rates = base[rarest_first]
    sayable = rates < 1
    scores = np.full(counts.shape, -np.inf)
    precisions = counts[:, rarest_first][:, sayable] / N_TOP
    scores[:, sayable] = (precisions - rates[sayable]) / (1 - rates[sayable])
    places = scores.argmax(axis=1)  # the first of equals
    concepts = rarest_first[places]
    each = np.arange(len(counts))
    return Best(concepts, counts[each, concepts], scores[each, places])


def shares(best: Best, concepts: Sequence[Concept]) -> Shares:
    n_scored = len(best.concepts)
    if n_scored == 0:
        return Shares(0, None, None, {}, None)
    nine = best.n_showing == N_TOP
    groups = np.array([GROUPS.index(concept.group) for concept in concepts])[best.concepts[nine]]
    by_group = np.bincount(groups, minlength=len(GROUPS)) / n_scored
    return Shares(
        n_scored=n_scored,
        nine=float(nine.mean()),
        eight=float((best.n_showing >= _AT_LEAST).mean()),
        nine_by_group=dict(zip(GROUPS, by_group.tolist(), strict=True)),
        mean_score=float(best.scores.mean()),
    )


def random_top(n_features: int, n_scenes: int, seed: int) -> Top:
    """The chance level: nine distinct random scenes for each feature. Needs at least nine scenes."""
    random = np.random.default_rng(seed)
    drawn = [random.choice(n_scenes, N_TOP, replace=False) for _ in range(n_features)]
    return Top(np.arange(n_features), np.array(drawn, dtype=np.int64).reshape(-1, N_TOP))


def covered(counts: Int8[np.ndarray, "feature concept"]) -> Bool[np.ndarray, " concept"]:
    """True for concepts with a feature whose top nine scenes all show them."""
    found: Bool[np.ndarray, " concept"] = (counts == N_TOP).any(axis=0)
    return found
