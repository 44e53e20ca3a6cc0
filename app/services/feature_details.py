"""Everything known about one feature at one token, read once for its page and its JSON.

Knows no HTML, no JSON and no URL.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from app.state import OpenIndex
from scopeview.slots import Layer, Slot
from scopeview.store.manifest import Manifest
from scopeview.store.records import (
    Description,
    FeatureCard,
    FeatureRecord,
    ImageRow,
    Interval,
    Neighbor,
)


@dataclass(frozen=True)
class AtToken:
    """The same feature at one token of its layer."""

    card: FeatureCard
    shared: list[int]  # of its nine highest images, the ids that are also among the nine at the token at hand
    n_compared: int  # the most that could be shared: nine, or fewer where it fires on fewer images


@dataclass(frozen=True)
class SimilarFeature:
    """A feature that resembles this one, with what its card says."""

    neighbor: Neighbor
    card: FeatureCard


@dataclass(frozen=True)
class FeatureDetails:
    """One feature at one token."""

    slot: Slot
    record: FeatureRecord
    description: Description | None  # None: the index was not described
    tokens: list[AtToken]  # every token of the layer in index order, this one among them
    intervals: list[Interval]  # highest first; empty when it never fires
    within: list[SimilarFeature]  # same layer, by kind and then best first
    across: list[SimilarFeature]  # other layers
    previous: int | None  # the nearest features of the slot that fire at all
    following: int | None
    rows: dict[int, ImageRow]  # the highest images of every card above that has no grid, by id


def read_feature_details(index: OpenIndex, slot: Slot, feature: int, *, near: bool = True) -> FeatureDetails:
    """Reads the details; `near` False: no similar features. Raises `NotFoundError` if the layer lacks it."""
    reader = index.reader
    record = reader.feature(slot.layer, feature, slot.token)
    description = reader.description(slot, feature)
    tokens = _tokens(index, slot, feature)
    within = _near(index, slot, description.within if description and near else [])
    across = _near(index, slot, description.across if description and near else [])
    cards = [at.card for at in tokens] + [near.card for near in within + across]
    shown_singly = {image_id for card in cards if not card.has_grid for image_id in card.top_image_ids}
    return FeatureDetails(
        slot=slot,
        record=record,
        description=description,
        tokens=tokens,
        intervals=reader.intervals(slot, feature),
        within=within,
        across=across,
        previous=reader.live_neighbor(slot, feature, forward=False),
        following=reader.live_neighbor(slot, feature, forward=True),
        rows=reader.image_rows(sorted(shown_singly)),
    )


def _tokens(index: OpenIndex, slot: Slot, feature: int) -> list[AtToken]:
    cards = [
        card
        for token in index.tokens(slot.layer)
        for card in index.reader.cards(Slot(slot.layer, token), [feature]).values()
    ]
    here = next(card.top_image_ids for card in cards if card.token == slot.token)
    return [_at_token(card, here) for card in cards]


def _at_token(card: FeatureCard, here: list[int]) -> AtToken:
    shared = [image_id for image_id in card.top_image_ids if image_id in here]
    return AtToken(card, shared, min(len(card.top_image_ids), len(here)))


def indexed(index: OpenIndex, neighbors: Iterable[Neighbor]) -> list[Neighbor]:
    """Leaves out neighbors in layers that are not indexed."""
    return [neighbor for neighbor in neighbors if neighbor.layer in index.layers]


def _near(index: OpenIndex, slot: Slot, neighbors: Iterable[Neighbor]) -> list[SimilarFeature]:
    """Reads the neighbors' cards, with one query to the store per layer."""
    by_layer: dict[Layer, list[Neighbor]] = {}
    for neighbor in indexed(index, neighbors):
        by_layer.setdefault(neighbor.layer, []).append(neighbor)
    near = []
    for layer, found in by_layer.items():
        cards = index.reader.cards(index.slot_at(layer, slot.token), [each.feature for each in found])
        near += [SimilarFeature(each, cards[each.feature]) for each in found if each.feature in cards]
    return near


def finite(value: float | None) -> float | None:
    """Returns the value; None if it is missing, infinite or NaN."""
    return value if value is not None and math.isfinite(value) else None


def description_metrics(description: Description) -> dict[str, float | None]:
    """Returns the metrics by JSON name. None: it does not apply. Infinite or NaN: its computation failed."""
    return {
        "clarity": description.clarity,
        "label_entropy": description.label_entropy,
        "selectivity": description.selectivity,
    }


@dataclass(frozen=True)
class Provenance:
    """The model, SAE and dataset that a layer's features come from."""

    model: str
    model_revision: str | None
    sae: str  # suite and checkpoint file
    sae_sha256: str
    normalization: str
    dataset: str
    created: str


def provenance(manifest: Manifest, layer: Layer) -> Provenance:
    record = manifest.layer(layer)
    assert record is not None, "the slot was found in this manifest"
    return Provenance(
        model=manifest.model.ref,
        model_revision=manifest.model.revision,
        sae=f"{record.sae}/{record.sae_file}",
        sae_sha256=record.sae_sha256,
        normalization=record.normalization,
        dataset=manifest.dataset,
        created=manifest.created,
    )
