"""Highlights of a slot: the distribution of its densities, and features worth a look.

An index never changes, so each answer is computed once and kept.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import DensityBin, FeatureCard

N_HIGHLIGHTS = 6
"""Features of each layer that the overview shows."""

_KEPT = 512
_CANDIDATES = 64
_MAX_IMAGES = 0.25
"""The largest share of the index's images: a feature that fires on more is too common to be striking."""
_SMALL_WORDS = frozenset(["a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "to"])
_SEED = 7


@lru_cache(maxsize=_KEPT)
def densities(reader: IndexReader, slot: Slot) -> tuple[DensityBin, ...]:
    """See `IndexReader.density_bins`."""
    return tuple(reader.density_bins(slot))


@lru_cache(maxsize=_KEPT)
def highlights(reader: IndexReader, slots: tuple[Slot, ...], limit: int) -> tuple[FeatureCard, ...]:
    """Returns features that are both clear and well named, from each slot in turn, with unlike names.

    A feature's score is the lower of its two ranks, by clarity and by its best name's score, among the active
    features of its slot. In the better half, the features whose name is most their own come first: a layer
    has many plain backgrounds and one umbrella. Features that fire on much of the index are left out. If an
    index was not described, a sample that is always the same is returned instead.
    """
    return tuple(diversify([_candidates(reader, slot) for slot in slots], limit))


def diversify(found: Sequence[Sequence[FeatureCard]], limit: int) -> list[FeatureCard]:
    """Takes from each list in turn the first card whose name shares no word with the chosen ones.

    If there is none, takes the first card with another name. Stops at `limit`; no name comes twice. Pure.
    """
    chosen: list[FeatureCard] = []
    n_before = -1
    while n_before < len(chosen) < limit:
        n_before = len(chosen)
        for cards in found:
            chosen += _following(cards, chosen)
    return chosen[:limit]


def _following(cards: Sequence[FeatureCard], chosen: Sequence[FeatureCard]) -> list[FeatureCard]:
    """Returns the first card that is unlike the chosen ones, or none."""
    names = {_key_name(card) for card in chosen}
    words = {word for card in chosen for word in _words(card.name)}
    others = [card for card in cards if _key_name(card) not in names]
    unlike = [card for card in others if words.isdisjoint(_words(card.name))]
    return (unlike or others)[:1]


@lru_cache(maxsize=_KEPT)
def _candidates(reader: IndexReader, slot: Slot) -> tuple[FeatureCard, ...]:
    """Returns the slot's candidates, the most striking first."""
    points = reader.points(slot)
    known = np.flatnonzero(np.isfinite(points.clarity) & np.isfinite(points.name_score))
    if not len(known):
        return tuple(reader.gallery(slot, sort="random", seed=_SEED, limit=_CANDIDATES).cards)
    rare = known[points.n_active[known] <= _MAX_IMAGES * reader.manifest.n_images]
    known = rare if len(rare) else known
    rank = np.minimum(_ranks(points.clarity[known]), _ranks(points.name_score[known]))
    better = np.argsort(-rank, kind="stable")[: max(len(known) // 2, _CANDIDATES // 4)]
    own = np.argsort(_commonness([points.name[at] for at in known.tolist()])[better], kind="stable")
    best = known[better[own[:_CANDIDATES]]]
    return tuple(reader.cards(slot, points.feature[best].tolist()).values())


def _commonness(names: Sequence[str | None]) -> Int[np.ndarray, " name"]:
    """Returns for each name how many of the names contain its most common word."""
    words = [_words(name) for name in names]
    counts = Counter(word for each in words for word in each)
    return np.array([max((counts[word] for word in each), default=0) for each in words])


def _key_name(card: FeatureCard) -> str:
    return (card.name or f"{card.layer}:{card.feature}").casefold()


def _words(name: str | None) -> frozenset[str]:
    """Returns the words of a name, without small words."""
    return frozenset(re.findall(r"\w+", (name or "").casefold())) - _SMALL_WORDS


def _ranks(values: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Ranks the values, 0 for the lowest; equal values rank by place."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
