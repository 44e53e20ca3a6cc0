"""The selected feature, whose heatmap lies over the image."""

from dataclasses import dataclass

from app.formatting import feature_name
from app.pages.cards import FeatureView
from app.pages.image.active_features import MarkedHistogram, marked, view_of, where_words
from app.pages.image.group_views import steering_links
from app.pages.image.patch_grid import HeatmapView, heat_over
from app.pages.image.view_state import ViewState
from app.pages.layout import Link
from app.services.feature_cards import FeatureCards
from app.state import OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.heatmap import feature_heatmaps
from scopeview.analysis.token_selection import Selection, summarize
from scopeview.slots import ANY, Slot
from scopeview.store.records import ActiveFeature


@dataclass(frozen=True)
class SelectedFeatureView:
    """One feature of the layer, whether it fires on the image or not."""

    feature: FeatureView
    where: str  # at how many tokens of the whole image, and where most; or that it does not fire
    activation: float  # the highest in the whole image; 0 where it does not fire
    share: float  # of the mass of all features in the whole image
    histogram: MarkedHistogram | None
    clear: str  # the same view without it
    edit_links: list[Link]  # to the steering page


@dataclass(frozen=True)
class SelectedFeature:
    view: SelectedFeatureView
    heat: HeatmapView | None  # None where the layer has no patches


def selected_feature(
    index: OpenIndex, view: ViewState, cards: FeatureCards, found: LayerDecomposition, size: int
) -> SelectedFeature | None:
    """Returns the chosen feature; None if none is chosen, or `cards` lacks it."""
    feature = view.feature
    if feature is None or feature not in cards.cards:
        return None
    whole = summarize(found, Selection(ANY, None)).features
    active = next((each for each in whole if each.feature == feature), None)
    value = ActiveFeature(feature, active.activation if active else 0.0, None)
    selected = SelectedFeatureView(
        feature=view_of(index, view.at, cards, feature, value),
        where=where_words(active, found, size) if active else "does not fire anywhere in this image",
        activation=value.activation,
        share=active.share if active else 0.0,
        histogram=_histogram(cards, feature, value.activation, found) if active else None,
        clear=view.with_feature(None).url(),
        edit_links=steering_links(view.at, view.layer, view.selection.text, [feature]),
    )
    return SelectedFeature(selected, _heat(index, view, found, size) if found.n_tokens > 1 else None)


def _histogram(
    cards: FeatureCards, feature: int, activation: float, found: LayerDecomposition
) -> MarkedHistogram | None:
    at = "" if cards.slot.token == ANY or found.n_tokens == 1 else "at any token"
    return marked(
        cards.histograms.get(feature), activation, cards.slot, at=at, is_indexed=found.stored is not None
    )


def _heat(index: OpenIndex, view: ViewState, found: LayerDecomposition, size: int) -> HeatmapView:
    """Draws parts of the index's maximum, so that a color means the same on every image."""
    assert view.feature is not None
    values = feature_heatmaps(found, [view.feature])[0]
    highest = highest_known(index, view, float(values.max()))
    return heat_over(values, highest, size, feature_name(view.layer, view.feature))


def highest_known(index: OpenIndex, view: ViewState, here: float) -> float:
    """Returns the maximum over all tokens if indexed; `here` if not, or if the feature never fired there."""
    assert view.feature is not None
    slot = Slot(view.layer, ANY)
    if ANY not in index.tokens(view.layer):
        return here
    card = index.reader.cards(slot, [view.feature]).get(view.feature)
    return (card.max_activation if card else None) or here
