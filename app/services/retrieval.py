"""Retrieval from an index: by number, by name, and by similarity in CLIP's space.

The caller brings the query's vector; how it was made of words or pixels is not known here.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from app.params.query_text import FeatureRef
from app.state import OpenIndex
from scopeview.slots import ANY, Slot
from scopeview.store.records import FeatureCard, ImageRow, NameMatch
from scopeview.store.vectors import Modality

N_FEATURES, N_NAMED, N_IMAGES = 24, 6, 24

Vector = Float32[np.ndarray, " projection"]


@dataclass(frozen=True)
class FoundFeature:
    """A matching feature; `score` is a cosine with its vector, of the query or of `word`, or None."""

    card: FeatureCard
    score: float | None
    word: str | None = None  # the name of it that has the query's words in it, where it was found by that


@dataclass(frozen=True)
class FoundImage:
    """A matching image; `score` is the cosine of its CLIP embedding with the query."""

    row: ImageRow
    score: float


@dataclass(frozen=True)
class SearchResults:
    """All matches of one query, each list best first."""

    numbered: list[FoundFeature] = field(default_factory=list)  # of that number, by layer
    named: list[FoundFeature] = field(default_factory=list)  # whose best name has the words in it
    features: list[FoundFeature] = field(default_factory=list)  # nearest in CLIP's space
    also_named: list[FoundFeature] = field(default_factory=list)  # with those letters in any other name
    images: list[FoundImage] = field(default_factory=list)
    why_not: str | None = None  # why nothing was looked for in CLIP's space
    unknown_words: Sequence[str] = ()  # of the query, that the model does not know
    is_weak: bool = False  # nothing in CLIP's space matches the words well

    @property
    def is_empty(self) -> bool:
        return not (self.numbered or self.named or self.features or self.also_named or self.images)


class NameMatches(NamedTuple):
    """Matches by name: features whose best name matches, and features with another name that does."""

    named: list[FoundFeature]
    also_named: list[FoundFeature]


def by_number(index: OpenIndex, slots: Sequence[Slot], ref: FeatureRef) -> list[FoundFeature]:
    at = [firing_slot(index, slot, ref.feature) for slot in slots if ref.layer in (None, slot.layer)]
    cards = [index.reader.cards(slot, [ref.feature]).get(ref.feature) for slot in at]
    return [FoundFeature(card, None) for card in cards if card is not None]


def firing_slot(index: OpenIndex, slot: Slot, feature: int) -> Slot:
    """Returns that slot, or another of its layer if the feature fires only there: `any` first."""
    tokens = sorted(index.tokens(slot.layer), key=lambda token: (token != slot.token, token != ANY))
    for there in (Slot(slot.layer, token) for token in tokens):
        card = index.reader.cards(there, [feature]).get(feature)
        if card is not None and card.n_active:
            return there
    return slot


def by_name(index: OpenIndex, slots: Sequence[Slot], words: str, *, limit: int = N_NAMED) -> NameMatches:
    """Returns features whose names contain the words, at most `limit` of each kind, the surest first."""
    name_matches = [
        (slot, found) for slot in slots for found in index.reader.name_matches(slot, words, limit=limit)
    ]
    first = [(slot, found) for slot, found in name_matches if found.is_its_name]
    others = [(slot, found) for slot, found in name_matches if not found.is_its_name]
    exact = " ".join(words.lower().split())
    first.sort(key=lambda each: (each[1].word.lower() != exact, -each[1].score))
    others.sort(key=lambda each: (each[1].rank, -each[1].score))
    return NameMatches(_named(index, first[:limit]), _named(index, others[:limit]))


def _named(index: OpenIndex, found: list[tuple[Slot, NameMatch]]) -> list[FoundFeature]:
    return [
        FoundFeature(card, match.score, match.word)
        for slot, match in found
        for card in index.reader.cards(slot, [match.feature]).values()
    ]


def features_near(
    index: OpenIndex, slots: Sequence[Slot], vector: Vector, of: Modality, *, limit: int = N_FEATURES
) -> list[FoundFeature]:
    """Returns the nearest over all these slots, by the cosine of feature vectors with the centred query."""
    query = index.reader.search.centred(vector, of)
    hits = [
        (hit.cosine, slot, hit.number)
        for slot in slots
        for hit in index.reader.search.features(slot).nearest(query, limit)
    ]
    best = heapq.nlargest(limit, hits, key=lambda hit: hit[0])
    cards = {
        slot: index.reader.cards(slot, [number for _, at, number in best if at == slot]) for slot in slots
    }
    return [FoundFeature(cards[slot][number], cosine) for cosine, slot, number in best]


def is_weak(index: OpenIndex, features: Sequence[FoundFeature]) -> bool:
    """True if even the nearest feature is farther from the words than most are from their own names.

    A cosine alone does not show this: each model, and each index, has its own range of them.
    """
    usual = index.reader.usual_name_score()
    best = max((found.score for found in features if found.score is not None), default=None)
    return usual is not None and best is not None and best < usual


def images_near(
    index: OpenIndex, vector: Vector, *, limit: int = N_IMAGES, without: int | None = None
) -> list[FoundImage]:
    """Returns the nearest images that may be shown, without the query's own image, `without`."""
    hidden = {*index.reader.blocked(), without}
    spare = min(len(hidden), limit)  # a whole page of blocked ones in a row is not looked past
    hits = [
        hit for hit in index.reader.search.images().nearest(vector, limit + spare) if hit.number not in hidden
    ]
    rows = index.reader.image_rows([hit.number for hit in hits[:limit]])
    return [FoundImage(rows[hit.number], hit.cosine) for hit in hits[:limit]]


def has_vectors(index: OpenIndex, slots: Sequence[Slot]) -> bool:
    """False if the index was not described: then nothing can be found by similarity."""
    return any(len(index.reader.search.features(slot)) for slot in slots)
