"""Where on the grid of patches a feature reaches its maximum, over all images on which it fires anywhere."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from scopeview.slots import ANY, Layer, Slot
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader


class Places(NamedTuple):
    """Of a layer's features that fire at any token, by feature."""

    features: Int32[np.ndarray, " live"]
    patches: Int32[np.ndarray, "live patch"]  # images whose maximum is at that patch
    at_cls: Int32[np.ndarray, " live"]
    selectivity: Float32[np.ndarray, " live"]  # NaN where too few images say anything


def read_places(reader: IndexReader, layer: Layer, min_images: int) -> Places:
    """From the positions stored at `any`."""
    n_tokens = reader.manifest.model.grid_size**2 + 1
    found = reader.columns(
        "SELECT feature, position::INTEGER AS position, count(*)::INTEGER AS n FROM activations"
        f" WHERE {IN_SLOT} GROUP BY feature, position",
        slot_values(Slot(layer, ANY)),
    )
    features, rows = np.unique(found["feature"], return_inverse=True)
    counts = np.zeros((len(features), n_tokens), np.int32)
    counts[rows, found["position"]] = found["n"]
    patches = counts[:, 1:]
    return Places(features, patches, counts[:, 0], selectivity(patches, min_images))


def selectivity(
    patches: Int32[np.ndarray, "feature patch"], min_images: int
) -> Float32[np.ndarray, " feature"]:
    """0 where any patch is as likely as another, 1 where it is always the same; NaN below `min_images`.

    With p the chance that two of the images have their maximum at one patch, counted without replacement and
    so whatever their number: 1 - ln p / ln (1 / patches). One row of a 16 x 16 grid, evenly, gives 0.5.
    """
    counts = patches.astype(np.float64)
    n = counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        together = (counts * (counts - 1)).sum(axis=1) / (n * (n - 1))
        found = 1 + np.log(together) / np.log(patches.shape[1])
    kept: Float32[np.ndarray, " feature"] = np.where(
        n >= min_images, np.clip(found, 0.0, 1.0), np.nan
    ).astype(np.float32)
    return kept
