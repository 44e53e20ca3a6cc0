"""Examples from every strength at which a feature fires, not from its highest alone."""

from dataclasses import dataclass

from app.pages.cards import RankedView
from app.pages.feature.images import ranked
from app.services.feature_details import FeatureDetails
from app.state import OpenIndex


@dataclass(frozen=True)
class IntervalView:
    """One of the equal slices of (0, max]: low < activation <= high."""

    low: float
    high: float
    n_images: int
    of_firing: float  # n_images / images on which it fires
    of_all: float  # n_images / images in the index
    images: list[RankedView]  # an even sample of them


def intervals(index: OpenIndex, details: FeatureDetails) -> list[IntervalView]:
    """Highest first; empty where it never fires."""
    record = details.record
    return [
        IntervalView(
            low=each.low,
            high=each.high,
            n_images=each.n_images,
            of_firing=each.n_images / record.n_active,
            of_all=each.n_images / record.n_images,
            images=[ranked(index, details.slot, record, top) for top in each.images],
        )
        for each in details.intervals
    ]
