"""Addresses that the plots of features load in the browser. Pure."""

from dataclasses import dataclass

from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Slot


@dataclass(frozen=True)
class PlotView:
    """Addresses for the scripts in `static/`."""

    points_url: str  # every active feature, in columns
    card_url: str  # answers the block `point` for the `feature` that is added to its query
    n_images: int  # in the index: a density is a part of it


def plot_view(index: OpenIndex, slot: Slot) -> PlotView:
    version = index.version
    return PlotView(
        points_url=URLS.points(index.slug, slot.layer, packed=True, token=slot.token, v=version),
        card_url=URLS.map(index.slug, slot.layer, token=slot.token),
        n_images=index.manifest.n_images,
    )
