"""The CLIP embeddings of all images, at unit length on request: fp16, 768 MB for half a million images."""

from functools import cached_property

import numpy as np
from jaxtyping import Float16, Float32, Integer

from scopeview.store.vectors import unit_rows

_CHUNK = 8192


class Embeddings:
    """The embeddings of all images, one row per image, by image id."""

    def __init__(self, rows: Float16[np.ndarray, "image projection"]) -> None:
        self._rows = rows

    @property
    def n_images(self) -> int:
        return len(self._rows)

    @property
    def width(self) -> int:
        return int(self._rows.shape[1])

    def unit(self, images: Integer[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape projection"]:
        """The embeddings of the given images, at unit length."""
        flat = unit_rows(self._rows[images.ravel()])
        return flat.reshape(*images.shape, self.width)

    def chunk(self, start: int) -> Float32[np.ndarray, "image projection"]:
        """The next rows from `start` on, at unit length: one chunk of them; empty past the last."""
        return unit_rows(self._rows[start : start + _CHUNK])

    @property
    def chunk_starts(self) -> range:
        return range(0, self.n_images, _CHUNK)

    @cached_property
    def mean(self) -> Float32[np.ndarray, " projection"]:
        """The mean of all unit embeddings; summed in float64."""
        total = np.zeros(self.width, np.float64)
        for start in self.chunk_starts:
            total += self.chunk(start).sum(axis=0, dtype=np.float64)
        mean: Float32[np.ndarray, " projection"] = (total / max(self.n_images, 1)).astype(np.float32)
        return mean
