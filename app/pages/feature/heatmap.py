"""What the browser needs to lay a feature's heat over its pictures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.formatting import at_token
from app.services.feature_details import FeatureDetails
from app.state import AppState, OpenIndex
from app.urls import URLS
from scopeview.slots import ANY, EMBED, Token


@dataclass(frozen=True)
class FeatureHeatmapView:
    """Where heat is asked for, or why there is none."""

    url: str | None  # the endpoint, without the images; None where there is no heat
    absent: str  # why, in words; empty where there is heat
    grid: int  # patches on a side
    highest: float  # the activation that wears the strongest colour
    highest_at: str  # at which token that is the highest of the index, in words
    stored: str  # which values of an image are the index's own, in words


def heat_view(site: AppState, index: OpenIndex, sheet: FeatureDetails) -> FeatureHeatmapView:
    grid = index.manifest.model.grid_size
    absent = _absent(site, index, sheet)
    url = URLS.heat(index.slug, sheet.slot.layer, sheet.record.feature)
    tokens = index.tokens(sheet.slot.layer)
    return FeatureHeatmapView(
        None if absent else url,
        absent,
        grid,
        _highest(sheet),
        at_token(ANY if ANY in tokens else sheet.slot.token),
        stored_words(tokens),
    )


def stored_words(tokens: Sequence[Token]) -> str:
    """`the maximum of each image, CLS and token 137 are`"""
    *first, last = ["the maximum of each image"] * (ANY in tokens) + [
        at_token(token) for token in tokens if token != ANY
    ]
    return f"{', '.join(first)} and {last} are" if first else f"{last} is"


def _absent(site: AppState, index: OpenIndex, sheet: FeatureDetails) -> str:
    if sheet.record.max_activation is None:
        return "the feature never fires"
    if sheet.slot.layer == EMBED:
        return "the embedding is one vector for the whole image, without patches"
    return site.worker.unavailable_reason(index.reader.index_dir) or ""


def _highest(sheet: FeatureDetails) -> float:
    """Over all tokens where that was indexed, so that a colour means the same on every picture."""
    known = {at.card.token: at.card.max_activation for at in sheet.tokens}
    return known.get(ANY) or sheet.record.max_activation or 0.0
