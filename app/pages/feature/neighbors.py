"""Features that resemble this one: in its own layer, and what it was or becomes at the other layers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.formatting import feature_name, layer_name, token_name
from app.pages.cards import FeatureView, NearLink, NeighborView, feature_view
from app.pages.feature.summary import itself
from app.pages.feature.url_state import FeatureUrl
from app.pages.layout import Link
from app.services.feature_details import FeatureDetails, Near
from app.state import OpenIndex
from scopeview.slots import EMBED, Layer, Slot
from scopeview.store.records import NEIGHBOR_KINDS, NeighborKind

TERMS: dict[NeighborKind, tuple[str, str, str]] = {
    "decoder": (
        "by decoder direction",
        "cosine",
        "cosine of the two decoder rows: the directions that the features write into the model",
    ),
    "cofiring": (
        "by co-firing",
        "Jaccard",
        "images on which both fire / images on which either fires, at this token",
    ),
    "vector": (
        "by image embedding",
        "cosine",
        "cosine of the two feature vectors: mean CLIP embeddings of the images on which each fires",
    ),
}
"""Of each kind: its heading, what its score is, and one line that explains it."""


@dataclass(frozen=True)
class LayerCell:
    """What it resembles at one other layer, in one way."""

    best: NeighborView
    others: list[NearLink]  # best first


@dataclass(frozen=True)
class KindView:
    """Neighbours of one kind."""

    term: str  # the heading
    words: str  # what the kind is
    near: list[NeighborView]  # best first


@dataclass(frozen=True)
class LineageRow:
    """What it resembles most at each other layer, in one way."""

    term: str
    words: str
    cells: list[LayerCell | None]  # by column; None where there is nothing, as at this feature's own layer
    never_compared: list[bool]  # by column: this kind says nothing between the two layers


@dataclass(frozen=True)
class Lineage:
    """Layers across, kinds of likeness down."""

    here: FeatureView  # the feature itself, in the column of its own layer
    layers: list[Link]  # the columns; this feature's own layer is current
    rows: list[LineageRow]


def kinds(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl) -> list[KindView]:
    """Neighbours within the layer; kinds without any are left out."""
    found = _by_kind(sheet.within)
    every = [
        KindView(
            TERMS[kind][0],
            TERMS[kind][2],
            [_view(index, sheet, near, state) for near in found[kind, sheet.slot.layer]],
        )
        for kind in NEIGHBOR_KINDS
    ]
    return [kind for kind in every if kind.near]


def lineage(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl) -> Lineage | None:
    """None where nothing is known of other layers."""
    if not sheet.across:
        return None
    layers, found = index.layers, _by_kind(sheet.across)
    rows = [
        LineageRow(
            TERMS[kind][0],
            TERMS[kind][2],
            [_cell(index, sheet, found[kind, layer], state) for layer in layers],
            [kind == "decoder" and (layer == EMBED) != (sheet.slot.layer == EMBED) for layer in layers],
        )
        for kind in NEIGHBOR_KINDS
        if any(near.neighbor.kind == kind for near in sheet.across)
    ]
    return Lineage(itself(index, sheet), [_column(index, sheet, layer) for layer in layers], rows)


def _column(index: OpenIndex, sheet: FeatureDetails, layer: Layer) -> Link:
    there = index.slot_at(layer, sheet.slot.token)
    words = "" if there.token == sheet.slot.token else f"at {token_name(there.token)}"
    return Link(layer_name(layer), "", layer == sheet.slot.layer, words)


def _cell(
    index: OpenIndex, sheet: FeatureDetails, found: Sequence[Near], state: FeatureUrl
) -> LayerCell | None:
    if not found:
        return None
    return LayerCell(_view(index, sheet, found[0], state), [_link(index, near, state) for near in found[1:]])


def _by_kind(found: Sequence[Near]) -> Mapping[tuple[NeighborKind, Layer], Sequence[Near]]:
    """Also by layer; best first."""
    groups: dict[tuple[NeighborKind, Layer], list[Near]] = defaultdict(list)
    for near in found:
        groups[near.neighbor.kind, near.neighbor.layer].append(near)
    return groups


def _view(index: OpenIndex, sheet: FeatureDetails, near: Near, state: FeatureUrl) -> NeighborView:
    card = near.card
    return NeighborView(
        feature=feature_view(index, card, sheet.rows, card.top_image_ids, url=_url(index, near, state)),
        name=card.name,
        score=near.neighbor.score,
        score_term=TERMS[near.neighbor.kind][1],
    )


def _link(index: OpenIndex, near: Near, state: FeatureUrl) -> NearLink:
    card = near.card
    label = feature_name(card.layer, card.feature)
    return NearLink(_url(index, near, state), label, card.name, near.neighbor.score)


def _url(index: OpenIndex, near: Near, state: FeatureUrl) -> str:
    return state.pinned_url(index, Slot(near.card.layer, near.card.token), near.card.feature)
