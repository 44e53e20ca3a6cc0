"""A feature's vector: where its top images lie in CLIP's space, away from where all images lie."""

import numpy as np
from jaxtyping import Float16, Float32

from indexer.describe.embeddings import Embeddings
from indexer.describe.top_images import SlotTops

_CHUNK = 1024
_NOWHERE = 1e-6  # an offset no longer than this has no direction


def feature_vectors(
    tops: SlotTops, embeddings: Embeddings, n_features: int, min_images: int
) -> Float16[np.ndarray, "feature projection"]:
    """By feature, of unit length; zeros for those that are not active.

    The mean of its top images' unit embeddings, weighted by activation, less the mean of all images.
    """
    vectors = np.zeros((n_features, embeddings.width), np.float16)
    for start in range(0, len(tops), _CHUNK):
        some = tops.rows(start, start + _CHUNK)
        active = some.n_active >= min_images
        offsets = _weighted(some, embeddings) - embeddings.mean
        lengths = np.linalg.norm(offsets, axis=1, keepdims=True)
        unit = np.where(lengths > _NOWHERE, offsets / np.maximum(lengths, _NOWHERE), 0.0)
        vectors[some.features[active]] = unit[active]
    return vectors


def _weighted(tops: SlotTops, embeddings: Embeddings) -> Float32[np.ndarray, "live projection"]:
    shares = tops.weights / tops.weights.sum(axis=1, keepdims=True)
    weighted: Float32[np.ndarray, "live projection"] = np.einsum(
        "fr,frp->fp", shares, embeddings.unit(tops.images)
    )
    return weighted
