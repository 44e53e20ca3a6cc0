"""Decompositions of layers made by hand, and at random, for the tests of all that is made of them."""

import numpy as np

from scopeview.analysis.decomposition import LayerDecomposition


def layer_decomposition(
    features: list[list[int]],
    values: list[list[float]],
    *,
    norms: list[list[float]] | None = None,
    k: int | None = -1,
) -> LayerDecomposition:
    """`k` is the number of columns unless one is given; norms are 1."""
    shape = np.shape(features)
    return LayerDecomposition(
        k=shape[1] if k == -1 else k,
        features=np.asarray(features, np.int32),
        values=np.asarray(values, np.float32),
        norms=np.ones(shape, np.float32) if norms is None else np.asarray(norms, np.float32),
        explained_variance=np.linspace(0.5, 1, shape[0], dtype=np.float32),
        mse=np.arange(shape[0], dtype=np.float32),
    )


def random_layer(seed: int, *, n_tokens: int = 5, n_features: int = 8, k: int = 3) -> LayerDecomposition:
    """Full of ties; some kept values are below zero. A feature's decoder row has length 1 + feature / 4."""
    random = np.random.default_rng(seed)
    features = np.stack([random.choice(n_features, k, replace=False) for _ in range(n_tokens)])
    values = -np.sort(-random.integers(-2, 4, (n_tokens, k)), axis=1)
    return layer_decomposition(features.tolist(), values.tolist(), norms=(1 + features / 4).tolist())
