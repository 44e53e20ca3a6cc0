"""The histogram of a feature's activations. Pure."""

import math
from dataclasses import dataclass
from typing import get_args

from app.formatting import at_token, fraction, heat
from app.pages.feature.url_state import FeatureUrl, Scale
from app.pages.layout import Link
from app.services.feature_details import FeatureDetails
from app.state import OpenIndex


@dataclass(frozen=True)
class BinView:
    """One bar: low < activation <= high."""

    low: float
    high: float
    count: int
    height: float  # 0 to 1, as a part of the fullest bin, on the scale of the histogram
    step: int  # of the activation colors


@dataclass(frozen=True)
class HistogramView:
    """Bars over (0, max], on one of two scales."""

    bins: list[BinView]
    at: str  # the token at which it was counted, in words
    max_activation: float
    n_images: int  # on which it fires
    scales: list[Link]  # the one in use is current


def histogram(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> HistogramView | None:
    """Returns the histogram; None if the feature never fires."""
    record = details.record
    if record.max_activation is None:
        return None
    edges, counts = record.histogram.edges, record.histogram.counts
    fullest = _height(max(counts, default=0), state.scale)
    return HistogramView(
        bins=[
            BinView(low, high, count, fraction(_height(count, state.scale), fullest), heat(high / edges[-1]))
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ],
        at=at_token(record.token),
        max_activation=record.max_activation,
        n_images=record.n_active,
        scales=[
            Link(
                scale,
                f"{state.url(index, details.slot, record.feature, scale=scale)}#histogram",
                scale == state.scale,
                _WORDS[scale],
            )
            for scale in get_args(Scale)
        ],
    )


def _height(count: int, scale: Scale) -> float:
    """Returns a bar's height: the count, or log(1 + count) on the logarithmic scale.

    With log(1 + count), one image shows beside thousands, and no image is 0.
    """
    return math.log1p(count) if scale == "log" else float(count)


_WORDS: dict[Scale, str] = {
    "log": "heights are log(1 + images), so that small bins stay visible",
    "linear": "heights are image counts",
}
