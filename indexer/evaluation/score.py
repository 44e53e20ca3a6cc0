"""Which concept a feature stands for, by the nine scenes on which it fires most: arrays in, figures out.

Of a feature's nine top scenes the share that show a concept is its precision p; b is the concept's base rate,
the share of all scenes that show it. Concepts are ranked by (p - b) / (1 - b), Loevinger's H (1947): 1 where
all nine show it however common it is, 0 where as many do as anywhere. Of equals the rarer one is named, as it
says more. A concept that all nine show thus always beats one that eight do; but a rare one that seven show
may beat a common one that eight do, so that the count of eight or more is on the low side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from indexer.evaluation.concepts import GROUPS, Concept, Group
from scopeview.store.records import MIN_GRID_IMAGES

N_TOP = MIN_GRID_IMAGES
"""Only features that fire on at least so many scenes are scored."""
_AT_LEAST = 8


class Top(NamedTuple):
    """The scored features of one slot, in ascending order, each with its top scenes by rank."""

    features: Int64[np.ndarray, " feature"]
    scenes: Int64[np.ndarray, "feature rank=9"]


class Best(NamedTuple):
    """The best concept of every scored feature."""

    concepts: Int64[np.ndarray, " feature"]
    n_showing: Int8[np.ndarray, " feature"]
    """How many of the nine scenes show it."""
    scores: Float64[np.ndarray, " feature"]
    """Loevinger's H."""


@dataclass(frozen=True)
class Shares:
    """How many features stand for one thing. `nine`: all of the top nine show the concept; `eight`: at least
    eight do. None where there is nothing to take a share of."""

    n_scored: int
    nine: float | None
    eight: float | None
    nine_by_group: dict[Group, float]
    """The parts of `nine`; empty where that is None."""
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
    """`base` is the share of all scenes that show each concept. Nothing stands for what every scene shows."""
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
    """The chance level: nine different scenes at random for each feature. Needs at least nine scenes."""
    random = np.random.default_rng(seed)
    drawn = [random.choice(n_scenes, N_TOP, replace=False) for _ in range(n_features)]
    return Top(np.arange(n_features), np.array(drawn, dtype=np.int64).reshape(-1, N_TOP))


def covered(counts: Int8[np.ndarray, "feature concept"]) -> Bool[np.ndarray, " concept"]:
    """Is there a feature whose top nine all show the concept?"""
    found: Bool[np.ndarray, " concept"] = (counts == N_TOP).any(axis=0)
    return found
