"""What is said of a whole slot: how often its features fire, and which of them strike the eye.

An index never changes, so each answer is worked out once and kept.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import DensityBin, FeatureCard

STRIKING = 6
"""Features of each layer that the overview shows."""

_KEPT = 512
_CANDIDATES = 64
_MOST_IMAGES = 0.25
"""Of the index: what fires on more of it is too common to strike anyone."""
_SMALL_WORDS = frozenset("a an the of in on at with and or to".split())
_SEED = 7


@lru_cache(maxsize=_KEPT)
def densities(reader: IndexReader, slot: Slot) -> tuple[DensityBin, ...]:
    """See `IndexReader.density_bins`."""
    return tuple(reader.density_bins(slot))


@lru_cache(maxsize=_KEPT)
def striking(reader: IndexReader, slots: tuple[Slot, ...], limit: int) -> tuple[FeatureCard, ...]:
    """Features that are both clear and well named, of each of these slots in turn, as unlike in name as can be.

    A feature is as clear and well named as the lower of its two ranks, by clarity and by its best name's
    score, among the active features of its slot. Of the best quarter those come first whose name is most
    their own: a layer has many plain backgrounds and one umbrella. What fires on much of the index is left
    out. Where an index was not described it is a sample instead, always the same.
    """
    return tuple(spread([_candidates(reader, slot) for slot in slots], limit))


def spread(found: Sequence[Sequence[FeatureCard]], limit: int) -> list[FeatureCard]:
    """From each list in turn, until there are `limit`: the first of a name that shares no word with those
    taken already, else the first of another name. No name twice. Pure.
    """
    taken: list[FeatureCard] = []
    n_before = -1
    while n_before < len(taken) < limit:
        n_before = len(taken)
        for cards in found:
            taken += _following(cards, taken)
    return taken[:limit]


def _following(cards: Sequence[FeatureCard], taken: Sequence[FeatureCard]) -> list[FeatureCard]:
    """The first that is unlike those taken, or none."""
    names, words = {_called(card) for card in taken}, frozenset[str]().union(*(_words(card.name) for card in taken))
    others = [card for card in cards if _called(card) not in names]
    unlike = [card for card in others if words.isdisjoint(_words(card.name))]
    return (unlike or others)[:1]


@lru_cache(maxsize=_KEPT)
def _candidates(reader: IndexReader, slot: Slot) -> tuple[FeatureCard, ...]:
    """The most striking first."""
    points = reader.points(slot)
    known = np.flatnonzero(np.isfinite(points.clarity) & np.isfinite(points.name_score))
    if not len(known):
        return tuple(reader.gallery(slot, sort="random", seed=_SEED, limit=_CANDIDATES).cards)
    rare = known[points.n_active[known] <= _MOST_IMAGES * reader.manifest.n_images]
    known = rare if len(rare) else known
    rank = np.minimum(_ranks(points.clarity[known]), _ranks(points.name_score[known]))
    best = np.argsort(-rank, kind="stable")[: max(len(known) // 2, _CANDIDATES // 4)]
    names = [_words(points.name[at]) for at in known.tolist()]
    common = Counter(word for words in names for word in words)
    own = sorted(best.tolist(), key=lambda at: max((common[word] for word in names[at]), default=0))
    return tuple(reader.cards(slot, points.feature[known[own[:_CANDIDATES]]].tolist()).values())


def _called(card: FeatureCard) -> str:
    return (card.name or f"{card.layer}:{card.feature}").casefold()


def _words(name: str | None) -> frozenset[str]:
    """Of a name, without those that say nothing of what it is."""
    return frozenset(re.findall(r"\w+", (name or "").casefold())) - _SMALL_WORDS


def _ranks(values: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """0 for the lowest; equal values by place."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
