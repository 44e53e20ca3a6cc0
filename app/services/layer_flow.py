"""An image layer by layer: the largest groups of each layer, and links between their features.

For pages and JSON alike. Knows no HTML and no URL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from app.engine.encoders import EncoderProtocol
from app.services.feature_cards import FeatureCards
from app.services.groups import cards_of_groups, group_features, group_names
from app.state import OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.grouping import Group
from scopeview.analysis.token_selection import ActiveFeatureSummary, Selection, summarize
from scopeview.slots import Layer
from scopeview.store.records import NeighborKind

N_GROUPS, N_FEATURES = 3, 3
"""Groups shown per layer and features per group, unless the request asks for more."""

MIN_SCORE: dict[NeighborKind, float] = {"decoder": 0.25, "cofiring": 0.1}
N_LINKS = 2
"""Links of one kind kept per feature: the strongest."""


@dataclass(frozen=True)
class FeatureLink:
    """Two features of neighboring layers that resemble each other."""

    kind: NeighborKind
    feature: int
    other: int  # in the next layer
    score: float


@dataclass(frozen=True)
class HeavyGroup:
    """One of the largest groups of a layer."""

    names: list[str]  # what most of its mass is called, first
    share: float  # of the mass of all features there
    mass: float
    n_features: int
    features: list[ActiveFeatureSummary]  # its largest ones that the index knows


@dataclass(frozen=True)
class LayerColumn:
    """One layer."""

    layer: Layer
    cards: FeatureCards  # of all features there, at the slot whose names these are
    n_features: int  # that fire there
    n_groups: int  # that they make, shown or not
    explained_variance: float | None
    groups: list[HeavyGroup]  # largest first
    links: list[FeatureLink]  # from features here to features of the next column; strongest first

    @property
    def features(self) -> list[int]:
        return features_of(self.groups)


def features_of(groups: Sequence[HeavyGroup]) -> list[int]:
    return [active.feature for group in groups for active in group.features]


def layer_flow(
    index: OpenIndex,
    encoder: EncoderProtocol,
    found: Mapping[Layer, LayerDecomposition],
    selection: Selection,
    *,
    n_groups: int = N_GROUPS,
    n_features: int = N_FEATURES,
) -> list[LayerColumn]:
    """Returns one column per layer, in the order of `found`."""
    columns = [
        _column(index, encoder, layer, each, selection, n_groups, n_features) for layer, each in found.items()
    ]
    linked = [_linked(index, encoder, one, other) for one, other in pairwise(columns)]
    return [*linked, *columns[-1:]]


def _column(
    index: OpenIndex,
    encoder: EncoderProtocol,
    layer: Layer,
    found: LayerDecomposition,
    selection: Selection,
    n_groups: int,
    n_features: int,
) -> LayerColumn:
    groups = group_features(encoder, layer, found, selection)
    cards = cards_of_groups(index, layer, selection, groups, n_features)
    here = summarize(found, selection)
    actives = {active.feature: active for active in here.features}
    return LayerColumn(
        layer=layer,
        cards=cards,
        n_features=here.n_active,
        n_groups=len(groups),
        explained_variance=here.explained_variance,
        groups=[
            _group(group, names, cards, actives, n_features)
            for group, names in zip(groups[:n_groups], group_names(groups, cards.cards, layer), strict=False)
        ],
        links=[],
    )


def _group(
    group: Group,
    names: list[str],
    cards: FeatureCards,
    actives: Mapping[int, ActiveFeatureSummary],
    n_features: int,
) -> HeavyGroup:
    heaviest = group.features[:n_features].tolist()
    return HeavyGroup(
        names=names,
        share=group.share,
        mass=float(group.masses.sum()),
        n_features=len(group.features),
        features=[actives[feature] for feature in heaviest if feature in cards.cards],
    )


def _linked(index: OpenIndex, encoder: EncoderProtocol, one: LayerColumn, other: LayerColumn) -> LayerColumn:
    here, there = one.features, other.features
    links = by_decoder(
        here, encoder.directions(one.layer, here), there, encoder.directions(other.layer, there)
    )
    near = index.reader.neighbors_in(one.cards.slot, here, other.layer, "cofiring")
    links += [
        FeatureLink("cofiring", feature, hit.feature, hit.score)
        for feature, hit in near
        if hit.feature in there
    ]
    return replace(one, links=strongest(links))


def by_decoder(
    features: Sequence[int],
    directions: Float32[np.ndarray, "feature d_in"],
    others: Sequence[int],
    other_directions: Float32[np.ndarray, "other d_in"],
) -> list[FeatureLink]:
    """Links features whose decoder rows point the same way; none between layers of different widths. Pure."""
    if directions.shape[1] != other_directions.shape[1]:
        return []
    cosines = _unit(directions) @ _unit(other_directions).T
    return [
        FeatureLink("decoder", features[row], others[column], float(cosines[row, column]))
        for row, column in np.argwhere(cosines >= MIN_SCORE["decoder"]).tolist()
    ]


def strongest(found: Sequence[FeatureLink]) -> list[FeatureLink]:
    """Keeps the strongest few links of each kind that begin at a feature, and no weak ones. Pure."""
    kept: list[FeatureLink] = []
    for each in sorted(found, key=lambda each: (-each.score, each.feature, each.other)):
        same = [link for link in kept if (link.kind, link.feature) == (each.kind, each.feature)]
        if len(same) < N_LINKS and each.score >= MIN_SCORE[each.kind]:
            kept.append(each)
    return kept


def _unit(rows: Float32[np.ndarray, "row d_in"]) -> Float32[np.ndarray, "row d_in"]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32[np.ndarray, "row d_in"] = rows / np.maximum(lengths, np.float32(1e-12))
    return unit
