"""Made-up descriptions of the small index: the same ones each time, with all that can be amiss."""

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import SupportsIndex

import pytest

from app.moderation.reader import ModeratedReader
from scopeview.slots import EMBED, Layer, Slot
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    NEIGHBOR_KINDS,
    Description,
    FeatureCard,
    Name,
    Neighbor,
    NeighborKind,
)
from tests.app.index import GRID, LAYERS, N_FEATURES, SmallIndex

NAMES = [
    "red heart",
    "<img src=x onerror=alert(1)>",
    '"quoted" & {{ 7 * 7 }}',
    "\u202eback to front",
    "🦊" * 40,
]


def describe(monkeypatch: pytest.MonkeyPatch, small_index: SmallIndex) -> None:
    """Every reader of the server answers as if the index were described."""
    plain = ModeratedReader.cards

    def description(self: ModeratedReader, slot: Slot, feature: int) -> Description:  # noqa: ARG001
        return made_up(small_index, slot, feature)

    def cards(self: ModeratedReader, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, FeatureCard]:
        found = plain(self, slot, features)
        return {at: _described(small_index, slot, card) for at, card in found.items()}

    monkeypatch.setattr(ModeratedReader, "description", description)
    monkeypatch.setattr(ModeratedReader, "cards", cards)


def made_up(small_index: SmallIndex, slot: Slot, feature: int) -> Description:
    chance = random.Random(f"{slot.name}-{feature}")
    n_active = int((small_index.dense[slot][:, feature] > 0).sum())
    active, has_any = n_active >= MIN_GRID_IMAGES, slot.layer != EMBED and n_active > 0
    return Description(
        names=[Name(word, chance.random()) for word in chance.sample(NAMES, 3)] if active else [],
        clarity=chance.choice([0.625, math.nan]) if active else None,
        label_entropy=chance.choice([1.25, math.inf, None]) if active else None,
        selectivity=chance.random() if has_any else None,
        positions=[chance.choice([0, 0, 3]) for _ in range(GRID * GRID)] if has_any else None,
        at_cls=chance.randrange(9) if has_any else None,
        folds=_folds(chance, min(n_active, 20)),
        within=[_near(chance, kind, slot.layer) for kind in NEIGHBOR_KINDS for _ in range(4)]
        if active
        else [],
        across=_across(chance, slot) if active else [],
        x=None,
        y=None,
    )


def _described(small_index: SmallIndex, slot: Slot, card: FeatureCard) -> FeatureCard:
    names = made_up(small_index, slot, card.feature).names
    return replace(card, name=names[0].word, name_score=names[0].score) if names else card


def _folds(chance: random.Random, n_top: int) -> list[int]:
    """Some fold into an earlier one, which may itself be folded."""
    return [chance.choice([rank, rank, chance.randint(1, rank)]) for rank in range(1, n_top + 1)]


def _near(chance: random.Random, kind: NeighborKind, layer: Layer) -> Neighbor:
    return Neighbor(kind, layer, chance.randrange(N_FEATURES), chance.random())


def _across(chance: random.Random, slot: Slot) -> list[Neighbor]:
    return [
        _near(chance, kind, layer)
        for layer in LAYERS
        for kind in NEIGHBOR_KINDS
        for _ in range(2)
        if layer != slot.layer and not (kind == "decoder" and EMBED in (layer, slot.layer))
    ]
