"""What is said of a whole slot: how often its features fire, and which of them strike the eye.

An index never changes, so each answer is worked out once and kept.
"""

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
_SEED = 7


@lru_cache(maxsize=_KEPT)
def densities(reader: IndexReader, slot: Slot) -> tuple[DensityBin, ...]:
    """See `IndexReader.density_bins`."""
    return tuple(reader.density_bins(slot))


@lru_cache(maxsize=_KEPT)
def striking(reader: IndexReader, slot: Slot, limit: int) -> tuple[FeatureCard, ...]:
    """Features that are both clear and well named, the best first, no name twice.

    A feature is as striking as the lower of its two ranks, by clarity and by its best name's score, among the
    active features of the slot. Where an index was not described it is a sample instead, always the same.
    """
    points = reader.points(slot)
    known = np.flatnonzero(np.isfinite(points.clarity) & np.isfinite(points.name_score))
    if not len(known):
        return tuple(reader.gallery(slot, sort="random", seed=_SEED, limit=limit).cards)
    rank = np.minimum(_ranks(points.clarity[known]), _ranks(points.name_score[known]))
    best = known[np.argsort(-rank, kind="stable")[:_CANDIDATES]]
    cards = reader.cards(slot, points.feature[best].tolist()).values()
    named = {(card.name or str(card.feature)).casefold(): card for card in reversed(cards)}
    return tuple(card for card in cards if named[(card.name or str(card.feature)).casefold()] is card)[:limit]


def _ranks(values: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """0 for the lowest; equal values by place."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks
