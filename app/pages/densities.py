"""The density chart: how many features fire on how many images. Pure.

Bars are features and not activations, so they are gray.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.formatting import count, percent
from app.params.filters import Filters
from scopeview.store.records import DensityBin


@dataclass(frozen=True)
class DensityBar:
    """The features that fire on `low` to `high` images."""

    low: int
    high: int
    n_features: int
    height: float  # 0 to 1, as a part of the fullest bar, on a square-root scale
    words: str  # `312 features fire on 16 to 31 images (0.32 to 0.62 %)`
    inside: bool  # the filters in use show some of these
    url: str  # the gallery of exactly these; empty where the chart is only looked at


def density_bars(
    bins: Sequence[DensityBin],
    n_images: int,
    filters: Filters | None = None,
    link: Callable[[int, int], str] | None = None,
) -> list[DensityBar]:
    """Builds the bars; `link` returns the gallery of features that fire on `low` to `high` images."""
    fullest = max((each.n_features for each in bins), default=0) or 1
    return [
        DensityBar(
            low=each.low,
            high=each.high,
            n_features=each.n_features,
            height=math.sqrt(each.n_features / fullest),
            words=_words(each, n_images),
            inside=filters is None or _overlap(each, n_images, filters),
            url=link(each.low, each.high) if link else "",
        )
        for each in bins
    ]


def _words(each: DensityBin, n_images: int) -> str:
    one = each.n_features == 1
    images = "1 image" if each.high == 1 else f"{count(each.low)} to {count(each.high)} images"
    if each.low == each.high > 1:
        images = f"{count(each.low)} images"
    ends = dict.fromkeys(percent(end / n_images) for end in (each.low, each.high))
    shares = " to ".join(ends).replace(" %", "", len(ends) - 1)
    features = f"{count(each.n_features)} feature{'' if one else 's'} fire{'s' if one else ''}"
    return f"{features} on {images} ({shares})"


def _overlap(each: DensityBin, n_images: int, filters: Filters) -> bool:
    least = max(filters.min_images, (filters.min_density or 0) * n_images)
    most: float = n_images if filters.max_images is None else filters.max_images
    if filters.max_density is not None:
        most = min(most, filters.max_density * n_images)
    return each.high >= least and each.low <= most
