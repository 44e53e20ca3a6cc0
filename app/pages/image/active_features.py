"""The list of features active at the selected tokens. Pure."""

import math
from dataclasses import dataclass

from app.formatting import at_token, fraction, place
from app.pages.cards import Bar, FeatureView, bar, feature_view
from app.pages.image.view_state import ViewState, selection_words
from app.pages.layout import Link
from app.services.feature_cards import FeatureCards
from app.state import OpenIndex
from app.urls import URLS, ImageAddress
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.token_selection import ActiveFeatureSummary, SelectionSummary
from scopeview.slots import EMBED, Slot
from scopeview.store.records import ActiveFeature, Histogram


@dataclass(frozen=True)
class MarkedHistogram:
    """The activation histogram of a feature in the index, with the activation on this image marked."""

    n_bins: int
    path: str  # SVG bars, one wide and up to 10 high, on a logarithmic scale
    marker: float  # in bins from the left; at the right end where this image is beyond all of them
    words: str


@dataclass(frozen=True)
class ActiveView:
    """One feature active at the selected tokens."""

    feature: FeatureView  # its bar is its activation here, as a part of the highest in the index
    number: int
    share: Bar  # of the mass of all features there
    mass: float
    histogram: MarkedHistogram | None
    choose: Link  # lays its heatmap over the image; current where it lies there, and then takes it away


def view_of(
    index: OpenIndex, at: ImageAddress, cards: FeatureCards, feature: int, found: ActiveFeature | None = None
) -> FeatureView:
    """Returns the usual view, with a link to the feature's page that pins this image."""
    card = cards.cards[feature]
    view = feature_view(index, card, cards.rows, card.top_image_ids, found)
    return view._replace(url=feature_url(index, at, cards.slot, feature))


def feature_url(index: OpenIndex, at: ImageAddress, slot: Slot, feature: int) -> str:
    """Returns the URL of a feature's page with this image pinned."""
    return URLS.feature(index.slug, slot.layer, feature, slot.token, **at.pinned)


def active_views(
    index: OpenIndex, view: ViewState, cards: FeatureCards, here: SelectionSummary, found: LayerDecomposition
) -> list[ActiveView]:
    return [
        _view(index, view, cards, active, found) for active in here.features if active.feature in cards.cards
    ]


def _view(
    index: OpenIndex,
    view: ViewState,
    cards: FeatureCards,
    active: ActiveFeatureSummary,
    layer: LayerDecomposition,
) -> ActiveView:
    chosen = view.feature == active.feature
    several = view.selection.positions is None or len(view.selection.positions) > 1
    found = ActiveFeature(active.feature, active.activation, active.position if several else None)
    words = "hide the heatmap" if chosen else "show its heatmap on the image"
    to = view.with_feature(None if chosen else active.feature).url()
    return ActiveView(
        feature=view_of(index, view.at, cards, active.feature, found),
        number=active.feature,
        share=bar(active.share, 1.0),
        mass=active.mass,
        histogram=marked(
            cards.histograms.get(active.feature),
            active.activation,
            cards.slot,
            at=measured_at(index, view, cards.slot),
            is_indexed=layer.stored is not None,
        ),
        choose=Link("heatmap", to, chosen, words),
    )


def measured_at(index: OpenIndex, view: ViewState, slot: Slot) -> str:
    """Returns the tokens of the activation in words; empty if they are those of the histogram."""
    if view.selection.text == slot.token or view.layer == EMBED:
        return ""
    if view.selection.positions is None:
        return "at any token"
    return selection_words(view.selection, view.layer, index.manifest.model.grid_size)


def marked(
    histogram: Histogram | None, activation: float, slot: Slot, *, at: str = "", is_indexed: bool = False
) -> MarkedHistogram | None:
    """Returns the marked histogram; None if the feature never fires on the images of the index.

    An image that is one of them (`is_indexed`) is never beyond them all.
    """
    if histogram is None or not histogram.edges:
        return None
    edges, counts = histogram.edges, histogram.counts
    fullest = math.log1p(max(counts))
    above = sum(count for low, count in zip(edges, counts, strict=False) if low >= activation)
    path = "".join(
        f"M{at}.1 10V{10 - 10 * fraction(math.log1p(count), fullest):.2f}h.8V10z"
        for at, count in enumerate(counts)
        if count
    )
    total = sum(counts)
    token = at_token(slot.token)
    is_beyond = activation > edges[-1] and not is_indexed
    beyond = f"stronger than on any indexed image at {token}" if is_beyond else _rank(above, total)
    here = f"this image {at}" if at else "this image"
    return MarkedHistogram(
        n_bins=len(counts),
        path=path,
        marker=fraction(activation, edges[-1]) * len(counts),
        words=f"{here} among the {total:,} images on which it fires at {token}: {beyond}",
    )


def _rank(above: int, total: int) -> str:
    return f"about {above / total:.0%} of them have a higher activation" if total else "none"


def where_words(active: ActiveFeatureSummary, found: LayerDecomposition, grid: int) -> str:
    """Says where a feature fires, over all tokens: `at 12 of 257 tokens, highest at patch (8, 8)`."""
    about = "" if found.is_exact_at(None) else "about "
    tokens = f"{about}{active.n_tokens} of {found.n_tokens} tokens, highest at " if found.n_tokens > 1 else ""
    return f"at {tokens}{place(active.position, grid)}"
