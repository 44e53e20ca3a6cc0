"""Scores of a search by text: how often the right feature is among the answers of a given search method.

Queries are the concepts that some feature represents: its best concept, shown by all of its top nine scenes.
Each is queried by one plain text in the captions' words (counts and places have none). An answer is right if
all of the feature's top nine show the concept.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from indexer.evaluation.concepts import GROUPS, Group, concepts
from indexer.evaluation.score import N_TOP, Top, best_concepts, n_showing
from scopeview.slots import CLS, EMBED, Layer, Slot, Token
from scopeview.store.records import Hit

AMONG = 5
"""How many answers are considered."""

SearchMethod = Literal["vectors", "decoder", "chance"]
"""Search by feature vectors; the control, search by decoder rows; and random features."""


@dataclass(frozen=True)
class SearchScore:
    """One line of the table: a slot, or all layers together at one token. None if there are no queries."""

    layer: Layer | Literal["all"]
    token: Token
    how: SearchMethod
    n_concepts: int
    among: float | None
    """Share of the concepts with a right feature among the first five answers."""
    first: float | None
    """Share of the concepts whose first answer is right."""
    among_by_group: dict[Group, float]
    n_by_group: dict[Group, int]


class FeatureMeanings(NamedTuple):
    """The concepts that the scored features of one slot represent."""

    features: Int64[np.ndarray, " feature"]
    showing: Bool[np.ndarray, "feature concept"]
    """True where all of a feature's top nine scenes show the concept."""
    asked: Bool[np.ndarray, " concept"]
    """True if some feature represents the concept, and captions have words for it."""


class SearchScope(NamedTuple):
    """The slots that one search covers: a single slot, or one token over all layers."""

    layer: Layer | Literal["all"]
    token: Token
    slots: list[Slot]


@runtime_checkable
class Finder(Protocol):
    """Answers a text's vector with at most `k` features of a slot, best first."""

    def __call__(
        self, slot: Slot, vector: Float32[np.ndarray, " projection"], k: int, /
    ) -> Sequence[Hit]: ...


def search_scopes(slots: Sequence[Slot]) -> list[SearchScope]:
    """Every slot by itself, then every token over all layers; `embed` has only `cls`."""
    layers = list(dict.fromkeys(slot.layer for slot in slots))
    tokens = list(dict.fromkeys(slot.token for slot in slots if slot.layer != EMBED)) or [CLS]
    everywhere = [
        SearchScope("all", token, [Slot(layer, CLS if layer == EMBED else token) for layer in layers])
        for token in tokens
    ]
    return [*(SearchScope(slot.layer, slot.token, [slot]) for slot in slots), *everywhere]


def meaning(shown: Bool[np.ndarray, "scene concept"], top: Top) -> FeatureMeanings:
    counts = n_showing(shown, top.scenes)
    best = best_concepts(counts, shown.mean(axis=0))
    asked = np.zeros(len(concepts()), dtype=bool)
    asked[best.concepts[best.n_showing == N_TOP]] = True
    asked &= np.array([concept.text is not None for concept in concepts()])
    return FeatureMeanings(top.features, counts == N_TOP, asked)


def score(
    search: SearchScope,
    meanings: Mapping[Slot, FeatureMeanings],
    vectors: Mapping[str, Float32[np.ndarray, " projection"]],
    finders: Mapping[SearchMethod, Finder],
) -> list[SearchScore]:
    """One line per finder, then chance. `vectors` are the queries' vectors by text."""
    here = {slot: meanings[slot] for slot in search.slots}
    asked = np.flatnonzero(np.any([found.asked for found in here.values()], axis=0)).tolist()
    outcomes: dict[SearchMethod, list[tuple[float, float]]] = {
        how: [_outcome(find, here, number, vectors[concepts()[number].text or ""]) for number in asked]
        for how, find in finders.items()
    }
    outcomes["chance"] = [_chance(here, number) for number in asked]
    return [_line(search, how, asked, np.array(found).reshape(-1, 2)) for how, found in outcomes.items()]


def _outcome(
    find: Finder,
    here: Mapping[Slot, FeatureMeanings],
    concept: int,
    vector: Float32[np.ndarray, " projection"],
) -> tuple[float, float]:
    """Whether a right feature is among the first five answers, and whether the first is right, as 0 or 1."""
    hits = [(hit, slot) for slot in here for hit in find(slot, vector, AMONG)]
    best = heapq.nlargest(AMONG, hits, key=lambda hit: hit[0].cosine)
    rights = [_is_right(here[slot], hit.number, concept) for hit, slot in best]
    return float(any(rights)), float(any(rights[:1]))


def _is_right(found: FeatureMeanings, feature: int, concept: int) -> bool:
    return bool(found.showing[found.features == feature, concept].any())


def _chance(here: Mapping[Slot, FeatureMeanings], concept: int) -> tuple[float, float]:
    """The expected `_outcome` of features drawn at random without replacement."""
    n = sum(len(found.features) for found in here.values())
    n_right = sum(int(found.showing[:, concept].sum()) for found in here.values())
    drawn = min(AMONG, n)
    return 1 - math.comb(n - n_right, drawn) / math.comb(n, drawn), n_right / n


def _line(
    search: SearchScope, how: SearchMethod, asked: Sequence[int], outcomes: Float64[np.ndarray, "concept 2"]
) -> SearchScore:
    by_group: dict[Group, list[float]] = {}
    for number, (among, _) in zip(asked, outcomes.tolist(), strict=True):
        by_group.setdefault(concepts()[number].group, []).append(among)
    among, first = outcomes.mean(axis=0).tolist() if len(outcomes) else (None, None)
    groups = [group for group in GROUPS if group in by_group]
    return SearchScore(
        layer=search.layer,
        token=search.token,
        how=how,
        n_concepts=len(asked),
        among=among,
        first=first,
        among_by_group={group: float(np.mean(by_group[group])) for group in groups},
        n_by_group={group: len(by_group[group]) for group in groups},
    )
