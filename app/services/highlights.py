"""Highlights of a slot: the distribution of its densities, and features worth a look.

An index never changes, so each answer is worked out once and kept.
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
"""Of the index: what fires on more of it is too common to strike anyone."""
_SMALL_WORDS = frozenset(["a", "an", "the", "of", "in", "on", "at", "with", "and", "or", "to"])
_SEED = 7


@lru_cache(maxsize=_KEPT)
def densities(reader: IndexReader, slot: Slot) -> tuple[DensityBin, ...]:
    """See `IndexReader.density_bins`."""
    return tuple(reader.density_bins(slot))


@lru_cache(maxsize=_KEPT)
def highlights(reader: IndexReader, slots: tuple[Slot, ...], limit: int) -> tuple[FeatureCard, ...]:
    """Features that are both clear and well named, of each slot in turn, of names unlike each other.

    A feature is as clear and well named as the lower of its two ranks, by clarity and by its best name's
    score, among the active features of its slot. Of the better half those come first whose name is most
    their own: a layer has many plain backgrounds and one umbrella. What fires on much of the index is left
    out. Where an index was not described it is a sample instead, always the same.
    """
    return tuple(diversify([_candidates(reader, slot) for slot in slots], limit))


def diversify(found: Sequence[Sequence[FeatureCard]], limit: int) -> list[FeatureCard]:
    """From each list in turn the first whose name shares no word with those chosen already, or else the first
    of another name, until there are `limit`. No name twice. Pure.
    """
    chosen: list[FeatureCard] = []
    n_before = -1
    while n_before < len(chosen) < limit:
        n_before = len(chosen)
        for cards in found:
            chosen += _following(cards, chosen)
    return chosen[:limit]


def _following(cards: Sequence[FeatureCard], chosen: Sequence[FeatureCard]) -> list[FeatureCard]:
    """The first that is unlike those chosen, or none."""
    names = {_key_name(card) for card in chosen}
    words = {word for card in chosen for word in _words(card.name)}
    others = [card for card in cards if _key_name(card) not in names]
    unlike = [card for card in others if words.isdisjoint(_words(card.name))]
    return (unlike or others)[:1]


@lru_cache(maxsize=_KEPT)
def _candidates(reader: IndexReader, slot: Slot) -> tuple[FeatureCard, ...]:
    """The most striking first."""
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
    """In how many of these names the commonest word of each is."""
    words = [_words(name) for name in names]
    counts = Counter(word for each in words for word in each)
    return np.array([max((counts[word] for word in each), default=0) for each in words])


def _key_name(card: FeatureCard) -> str:
    return (card.name or f"{card.layer}:{card.feature}").casefold()


def _words(name: str | None) -> frozenset[str]:
    """Of a name, without those that say nothing of what it is."""
    return frozenset(re.findall(r"\w+", (name or "").casefold())) - _SMALL_WORDS


def _ranks(values: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """0 for the lowest; equal values by place."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
