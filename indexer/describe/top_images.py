"""A slot's features with their top images, as padded arrays: the input of most of a feature's metrics."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int32, Int64

from indexer.describe.embeddings import Embeddings
from scopeview.slots import ANY, Layer, Slot
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader


@dataclass(frozen=True)
class SlotTopImages:
    """The live features of a slot, in ascending order. Unused ranks are padded with image 0 and weight 0."""

    features: Int32[np.ndarray, " live"]
    n_active: Int32[np.ndarray, " live"]
    images: Int32[np.ndarray, "live rank"]
    weights: Float32[np.ndarray, "live rank"]  # activations; always above zero where there is an image

    @property
    def present(self) -> Bool[np.ndarray, "live rank"]:
        return self.weights > 0

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, start: int, end: int) -> "SlotTopImages":
        """The features at positions `start` to `end` (exclusive) of this object."""
        cut = slice(start, end)
        return SlotTopImages(self.features[cut], self.n_active[cut], self.images[cut], self.weights[cut])


def read_top_images(reader: IndexReader, slot: Slot) -> SlotTopImages:
    """Reads a slot's features with all top images that the index stores."""
    columns = reader.columns(
        f"SELECT feature, n_active FROM features WHERE {IN_SLOT} AND n_active > 0 ORDER BY feature",
        slot_values(slot),
    )
    pairs = reader.columns(
        "SELECT feature, unnest(range(len(top_images))) AS rank, unnest(top_images) AS image,"
        f" unnest(top_values) AS value FROM features WHERE {IN_SLOT} AND n_active > 0",
        slot_values(slot),
    )
    features: Int32[np.ndarray, " live"] = columns["feature"]
    shape = (len(features), reader.manifest.top_n)
    images, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    rows: Int64[np.ndarray, " pair"] = np.searchsorted(features, pairs["feature"])
    images[rows, pairs["rank"]] = pairs["image"]
    weights[rows, pairs["rank"]] = pairs["value"]
    return SlotTopImages(features, columns["n_active"], images, weights)


def active_features(reader: IndexReader, slot: Slot, min_images: int) -> Int32[np.ndarray, " active"]:
    """The features that fire on at least `min_images` images, in ascending order."""
    found: Int32[np.ndarray, " active"] = reader.columns(
        f"SELECT feature FROM features WHERE {IN_SLOT} AND n_active >= $least ORDER BY feature",
        {**slot_values(slot), "least": min_images},
    )["feature"]
    return found


def clarity(tops: SlotTopImages, embeddings: Embeddings, n_images: int) -> Float32[np.ndarray, " live"]:
    """Mean pairwise cosine of the first `n_images` top images, self-pairs excluded; NaN below two images.

    For n unit vectors it follows from the length of their sum: (|sum|^2 - n) / (n (n - 1)).
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


def label_entropy(tops: SlotTopImages, labels: Int32[np.ndarray, " image"]) -> Float32[np.ndarray, " live"]:
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


class PeakPositions(NamedTuple):
    """The peak positions of a layer's features that fire at any token, by feature."""

    features: Int32[np.ndarray, " live"]
    patches: Int32[np.ndarray, "live patch"]  # images whose maximum is at that patch
    at_cls: Int32[np.ndarray, " live"]
    selectivity: Float32[np.ndarray, " live"]  # NaN where too few images say anything


def read_peak_positions(reader: IndexReader, layer: Layer, min_images: int) -> PeakPositions:
    """Counts the positions of maxima that the index stores at `any`."""
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
    return PeakPositions(features, patches, counts[:, 0], selectivity(patches, min_images))


def selectivity(
    patches: Int32[np.ndarray, "feature patch"], min_images: int
) -> Float32[np.ndarray, " feature"]:
    """0 if all patches are equally likely, 1 if the maximum is always at one patch; NaN below `min_images`.

    The formula is 1 - ln p / ln (1 / patches), where p is the chance that two of the images have their
    maximum at the same patch. It is counted without replacement, so that it does not depend on the number of
    images. An even spread over one row of a 16 x 16 grid gives 0.5.
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


_CHUNK = 1024
_NOWHERE = 1e-6  # an offset no longer than this has no direction


def feature_vectors(
    tops: SlotTopImages, embeddings: Embeddings, n_features: int, min_images: int
) -> Float16[np.ndarray, "feature projection"]:
    """The vectors of all features at unit length; zeros for features that are not active.

    A vector is the activation-weighted mean of the top images' unit embeddings, minus the mean of all images.
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


def _weighted(tops: SlotTopImages, embeddings: Embeddings) -> Float32[np.ndarray, "live projection"]:
    shares = tops.weights / tops.weights.sum(axis=1, keepdims=True)
    weighted: Float32[np.ndarray, "live projection"] = np.einsum(
        "fr,frp->fp", shares, embeddings.unit(tops.images)
    )
    return weighted
