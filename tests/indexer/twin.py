"""The brute-force twin of encode and build: no batches, no files, no SQL. Slow and plain on purpose."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from indexer.build import N_BINS
from scopeview.vision.encoder import SlotCodes

Dense = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TwinFeature:
    """One feature's statistics, worked out from a dense (image, feature) table."""

    n_active: int
    total: float
    highest: float | None
    histogram: list[int]
    ranking: list[int]  # every image on which it fires, by rank


def dense(codes: SlotCodes, n_features: int) -> Dense:
    """(image, feature) with zeros where nothing was kept."""
    table = np.zeros((len(codes.lengths), n_features), dtype=np.float32)
    rows = np.repeat(np.arange(len(codes.lengths)), codes.lengths)
    table[rows, codes.features] = codes.values
    return table


def feature(activations: np.ndarray[Any, np.dtype[np.float32]]) -> TwinFeature:
    """Of one column of the dense table."""
    firing = [(-float(value), image) for image, value in enumerate(activations) if value > 0]
    ranking = [image for _, image in sorted(firing)]
    if not ranking:
        return TwinFeature(0, 0.0, None, [], [])
    highest = float(activations.max())
    edges = [highest * i / N_BINS for i in range(N_BINS + 1)]
    histogram = [sum(low < -value <= high for value, _ in firing) for low, high in pairwise(edges)]
    return TwinFeature(len(firing), sum(-value for value, _ in firing), highest, histogram, ranking)
