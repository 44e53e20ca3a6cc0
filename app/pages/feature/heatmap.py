"""The URL from which the browser gets a feature's heatmaps, or why there are none. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.formatting import at_token
from app.services.feature_details import FeatureDetails
from app.state import AppState, OpenIndex
from app.urls import URLS
from scopeview.slots import ANY, EMBED, Token


@dataclass(frozen=True)
class FeatureHeatmapView:
    """URL of the heatmaps, or why there are none."""

    url: str | None  # the endpoint, without the images; None where there is no heat
    absent: str  # why, in words; empty where there is heat
    grid: int  # patches on a side
    highest: float  # the activation that wears the strongest color
    highest_at: str  # at which token that is the highest of the index, in words
    stored: str  # which values of an image are the index's own, in words


def heat_view(site: AppState, index: OpenIndex, details: FeatureDetails) -> FeatureHeatmapView:
    grid = index.manifest.model.grid_size
    absent = _absent(site, index, details)
    url = URLS.heat(index.slug, details.slot.layer, details.record.feature)
    tokens = index.tokens(details.slot.layer)
    return FeatureHeatmapView(
        None if absent else url,
        absent,
        grid,
        _highest(details),
        at_token(ANY if ANY in tokens else details.slot.token),
        stored_words(tokens),
    )


def stored_words(tokens: Sequence[Token]) -> str:
    """Joins tokens: `the maximum of each image, CLS and token 137 are`."""
    *first, last = ["the maximum of each image"] * (ANY in tokens) + [
        at_token(token) for token in tokens if token != ANY
    ]
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def _absent(site: AppState, index: OpenIndex, details: FeatureDetails) -> str:
    if details.record.max_activation is None:
        return "the feature never fires"
    if details.slot.layer == EMBED:
        return "the embedding is one vector for the whole image, without patches"
    return site.worker.unavailable_reason(index.reader.index_dir) or ""


def _highest(details: FeatureDetails) -> float:
    """Returns the maximum over all tokens if indexed, so that a color means the same on every image."""
    known = {at.card.token: at.card.max_activation for at in details.tokens}
    return known.get(ANY) or details.record.max_activation or 0.0
