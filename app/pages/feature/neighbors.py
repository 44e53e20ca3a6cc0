"""Similar features, in the feature's own layer and in other layers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.formatting import feature_name, layer_name, token_name
from app.pages.cards import FeatureView, NearLink, NeighborView, feature_view
from app.pages.feature.summary import own_feature_view
from app.pages.feature.url_state import FeatureUrl
from app.pages.layout import Link
from app.services.feature_details import FeatureDetails, SimilarFeature
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
"""For each kind: its heading, the name of its score, and one line that explains it."""


@dataclass(frozen=True)
class LayerCell:
    """Neighbors of one kind in one other layer."""

    best: NeighborView
    others: list[NearLink]  # best first


@dataclass(frozen=True)
class KindView:
    """Neighbors of one kind."""

    term: str  # the heading
    words: str  # what the kind is
    near: list[NeighborView]  # best first


@dataclass(frozen=True)
class AcrossLayersRow:
    """The nearest neighbors of one kind in each other layer."""

    term: str
    words: str
    cells: list[LayerCell | None]  # by column; None where there is nothing, as at this feature's own layer
    never_compared: list[bool]  # by column: this kind says nothing between the two layers


@dataclass(frozen=True)
class AcrossLayers:
    """A table with a column per layer and a row per kind of similarity."""

    here: FeatureView  # the feature itself, in the column of its own layer
    layers: list[Link]  # the columns; this feature's own layer is current
    rows: list[AcrossLayersRow]


def kinds(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> list[KindView]:
    """Returns the neighbors within the layer; leaves out kinds without any."""
    found = _by_kind(details.within)
    every = [
        KindView(
            TERMS[kind][0],
            TERMS[kind][2],
            [_view(index, details, near, state) for near in found[kind, details.slot.layer]],
        )
        for kind in NEIGHBOR_KINDS
    ]
    return [kind for kind in every if kind.near]


def across_layers(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> AcrossLayers | None:
    """Returns the neighbors in other layers; None if none are known."""
    if not details.across:
        return None
    layers, found = index.layers, _by_kind(details.across)
    rows = [
        AcrossLayersRow(
            TERMS[kind][0],
            TERMS[kind][2],
            [_cell(index, details, found[kind, layer], state) for layer in layers],
            [kind == "decoder" and (layer == EMBED) != (details.slot.layer == EMBED) for layer in layers],
        )
        for kind in NEIGHBOR_KINDS
        if any(near.neighbor.kind == kind for near in details.across)
    ]
    return AcrossLayers(
        own_feature_view(index, details), [_column(index, details, layer) for layer in layers], rows
    )


def _column(index: OpenIndex, details: FeatureDetails, layer: Layer) -> Link:
    there = index.slot_at(layer, details.slot.token)
    words = "" if there.token == details.slot.token else f"at {token_name(there.token)}"
    return Link(layer_name(layer), "", layer == details.slot.layer, words)


def _cell(
    index: OpenIndex, details: FeatureDetails, found: Sequence[SimilarFeature], state: FeatureUrl
) -> LayerCell | None:
    if not found:
        return None
    return LayerCell(
        _view(index, details, found[0], state), [_link(index, near, state) for near in found[1:]]
    )


def _by_kind(
    found: Sequence[SimilarFeature],
) -> Mapping[tuple[NeighborKind, Layer], Sequence[SimilarFeature]]:
    """Groups the neighbors by kind and layer; best first."""
    groups: dict[tuple[NeighborKind, Layer], list[SimilarFeature]] = defaultdict(list)
    for near in found:
        groups[near.neighbor.kind, near.neighbor.layer].append(near)
    return groups


def _view(index: OpenIndex, details: FeatureDetails, near: SimilarFeature, state: FeatureUrl) -> NeighborView:
    card = near.card
    return NeighborView(
        feature=feature_view(index, card, details.rows, card.top_image_ids, url=_url(index, near, state)),
        name=card.name,
        score=near.neighbor.score,
        score_term=TERMS[near.neighbor.kind][1],
    )


def _link(index: OpenIndex, near: SimilarFeature, state: FeatureUrl) -> NearLink:
    card = near.card
    label = feature_name(card.layer, card.feature)
    return NearLink(_url(index, near, state), label, card.name, near.neighbor.score)


def _url(index: OpenIndex, near: SimilarFeature, state: FeatureUrl) -> str:
    return state.pinned_url(index, Slot(near.card.layer, near.card.token), near.card.feature)
