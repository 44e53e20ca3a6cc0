"""Views of groups: name, heatmap, share and largest members. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.pages.cards import Bar, FeatureView, bar
from app.pages.image.active_features import feature_url, view_of
from app.pages.image.patch_grid import HeatmapView, heat_over
from app.pages.image.steering_state import SteeringState, edit_links
from app.pages.layout import Link
from app.services.feature_cards import FeatureCards
from app.state import OpenIndex
from app.urls import ImageAddress
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.grouping import Group
from scopeview.analysis.heatmap import mass_heat
from scopeview.analysis.token_selection import Selection
from scopeview.slots import Layer

N_SHOWN = 4


@dataclass(frozen=True)
class GroupView:
    """Features that point the same way, and are therefore read as one thing."""

    number: int  # 1 is the largest
    name: str  # what most of its mass is called, if no heavier group is called so
    also: str  # what more of it is called; empty for nothing more
    share: Bar  # of the mass of all features there
    n_features: int
    heat: HeatmapView | None  # None where the layer has no patches
    members: list[FeatureView]  # the largest
    rest: list[Link]  # the others, by mass
    choose: Link  # lays its heatmap over the image
    edit_links: list[Link]  # to the steering page, all of it


def group_view(
    index: OpenIndex,
    at: ImageAddress,
    number: int,
    group: Group,
    names: Sequence[str],
    cards: FeatureCards,
    found: LayerDecomposition,
    choose: Link,
    tokens: str,
) -> GroupView:
    layer = cards.slot.layer
    features = [feature for feature in group.features.tolist() if feature in cards.cards]
    return GroupView(
        number=number,
        name=names[0],
        also=", ".join(names[1:]),
        share=bar(group.share, 1.0),
        n_features=len(group.features),
        heat=_heat(index, found, group, names[0]) if found.n_tokens > 1 else None,
        members=[view_of(index, at, cards, feature) for feature in features[:N_SHOWN]],
        rest=[_link(index, at, cards, feature) for feature in features[N_SHOWN:]],
        choose=choose,
        edit_links=steering_links(at, layer, tokens, group.features.tolist()),
    )


def steering_links(at: ImageAddress, layer: Layer, tokens: str, features: Sequence[int]) -> list[Link]:
    """Returns links to pages that set these features together to zero, half or double."""
    return edit_links(SteeringState(at, layer, Selection(tokens, None)), features)


def _heat(index: OpenIndex, found: LayerDecomposition, group: Group, name: str) -> HeatmapView:
    """Returns the heatmap of its mass at each patch, as a part of its maximum."""
    values = mass_heat(found, group.features.tolist())
    return heat_over(values, float(values.max()), index.manifest.model.grid_size, f"activation of {name}")


def _link(index: OpenIndex, at: ImageAddress, cards: FeatureCards, feature: int) -> Link:
    card = cards.cards[feature]
    label = f"{feature} {card.name}" if card.name else str(feature)
    return Link(label, feature_url(index, at, cards.slot, feature))
