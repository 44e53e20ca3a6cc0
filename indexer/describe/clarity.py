"""How alike a feature's top images are, in CLIP's space and by their labels."""

import numpy as np
from jaxtyping import Float32, Int32

from indexer.describe.embeddings import Embeddings
from indexer.describe.top_images import SlotTops


def clarity(tops: SlotTops, embeddings: Embeddings, n_images: int) -> Float32[np.ndarray, " live"]:
    """Mean pairwise cosine of the first `n_images` top images, self-pairs excluded; NaN below two images.

    Of n unit vectors it follows from the length of their sum: (|sum|^2 - n) / (n (n - 1)).
    """
    present = tops.present[:, :n_images]
    unit = embeddings.unit(tops.images[:, :n_images]) * present[:, :, None]
    n = present.sum(axis=1).astype(np.float64)
    total = unit.sum(axis=1, dtype=np.float64)
    own = np.square(unit, dtype=np.float64).sum(axis=(1, 2))  # n, but for embeddings that are zero
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (np.square(total).sum(axis=1) - own) / (n * (n - 1))
    found: Float32[np.ndarray, " live"] = mean.astype(np.float32)
    return found


def label_entropy(tops: SlotTops, labels: Int32[np.ndarray, " image"]) -> Float32[np.ndarray, " live"]:
    """Shannon entropy in nats of activation by label; NaN where no top image has a label (-1)."""
    of_images = labels[tops.images]
    weights = np.where(of_images >= 0, tops.weights, 0.0).astype(np.float64)
    same = of_images[:, :, None] == of_images[:, None, :]
    by_label = np.einsum("frs,fs->fr", same, weights)  # of the label of each rank's image
    total = weights.sum(axis=1, keepdims=True)
    logs = np.log(np.divide(by_label, total, out=np.ones_like(weights), where=weights > 0))
    entropy = -np.divide(
        (weights * logs).sum(axis=1), total[:, 0], out=np.full(len(tops), np.nan), where=total[:, 0] > 0
    )
    found: Float32[np.ndarray, " live"] = np.maximum(entropy, 0.0).astype(np.float32)  # and no -0
    return found
