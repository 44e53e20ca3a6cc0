"""A slot's map: its active features in two dimensions, with similar vectors near each other (t-SNE).

Only neighborhoods on the map have a meaning; axes and distances between clusters have none.
"""

import threading

import numpy as np
from jaxtyping import Float32, Float64

from indexer.describe.nearest import nearest_rows

_MIN_POINTS = 50
"""With fewer points than this, the map is just their two principal components."""
_FOURIER_FROM = 10_000  # points from which the gradient is quicker by FFT than by a tree
_EXAGGERATED = 1 / 3  # of the iterations
_STOP_EVERY = 10  # iterations
_FIRST_SPREAD = 1e-4  # standard deviation of the start, as t-SNE expects it


def tsne_layout(
    vectors: Float32[np.ndarray, "point projection"],
    *,
    perplexity: int,
    iterations: int,
    seed: int,
    stop: threading.Event | None = None,
) -> Float32[np.ndarray, "point xy=2"]:
    """Lays out points in [0, 1] x [0, 1], both axes to one scale. Equal vectors and numbers give equal maps.

    Once `stop` is set, it returns early with an unusable map.
    """
    if not len(vectors):
        return np.empty((0, 2), np.float32)
    start = principal(vectors)
    if len(vectors) < _MIN_POINTS:
        return scaled(start)
    spread = max(float(start[:, 0].std()), 1e-12)
    return scaled(_tsne(vectors, start * (_FIRST_SPREAD / spread), perplexity, iterations, seed, stop))


def principal(vectors: Float32[np.ndarray, "point projection"]) -> Float64[np.ndarray, "point xy=2"]:
    """The two principal components, with signs such that the largest loading of each is positive."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    first = axes[:, -1:-3:-1] if axes.shape[1] > 1 else np.hstack([axes, np.zeros_like(axes)])
    loudest = np.abs(first).argmax(axis=0)
    signs = np.where(first[loudest, [0, 1]] < 0, -1.0, 1.0)
    found: Float64[np.ndarray, "point xy=2"] = centred @ (first * signs)
    return found


def scaled(points: Float64[np.ndarray, "point xy=2"]) -> Float32[np.ndarray, "point xy=2"]:
    """Scales points into the unit square, centred, without changing their proportions."""
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()), 1e-12)
    placed = (points - (low + high) / 2) / side + 0.5
    found: Float32[np.ndarray, "point xy=2"] = placed.clip(0.0, 1.0).astype(np.float32)
    return found


def _tsne(
    vectors: Float32[np.ndarray, "point projection"],
    start: Float64[np.ndarray, "point xy=2"],
    perplexity: int,
    iterations: int,
    seed: int,
    stop: threading.Event | None,
) -> Float64[np.ndarray, "point xy=2"]:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    n_points = len(vectors)
    near = nearest_rows(vectors, vectors, min(3 * perplexity, n_points - 1), same=True, above=-np.inf)
    distances = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * near.scores.astype(np.float64)))
    known = PrecomputedNeighbors(near.rows.astype(np.int64), distances)
    embedding = TSNEEmbedding(
        start,
        PerplexityBasedNN(perplexity=perplexity, knn_index=known, n_jobs=1),
        negative_gradient_method="fft" if n_points >= _FOURIER_FROM else "bh",
        n_jobs=1,
        random_state=seed,
        callbacks=lambda *_: stop is not None and stop.is_set(),
        callbacks_every_iters=_STOP_EVERY,
    )
    early = round(iterations * _EXAGGERATED)
    embedding = embedding.optimize(early, exaggeration=12, momentum=0.5)
    embedding = embedding.optimize(iterations - early, momentum=0.8)
    return np.asarray(embedding, dtype=np.float64)
