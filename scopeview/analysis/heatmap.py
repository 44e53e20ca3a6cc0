"""Heatmaps: how strongly a feature fires at each token of an image. Knows sparse codes, not their origin.

Values are exact: the activation where the SAE's own selection keeps the feature, 0 elsewhere, so that the
maximum over the tokens is the image's code at `any`. A TopK SAE may keep a value below zero; it is left
unchanged.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from scopeview.analysis.decomposition import LayerDecomposition


def feature_heatmaps(
    layer: LayerDecomposition, features: Sequence[int]
) -> Float32[np.ndarray, "feature token"]:
    """The activation of each feature at each token: CLS, then the patches row by row."""
    wanted = np.asarray(features, dtype=np.int64)[:, None, None]
    found: Float32[np.ndarray, "feature token"] = np.where(
        layer.features == wanted, layer.values, np.float32(0)
    ).sum(axis=2)
    return found


def with_stored(
    heat: Float32[np.ndarray, " token"],
    at_tokens: Mapping[int, float],
    peak: tuple[float, int] | None,
) -> Float32[np.ndarray, " token"]:
    """Corrects a feature's heatmap, computed from a thumbnail, to agree with the values an index stores.

    `at_tokens` holds stored activations at single tokens. `peak` is the stored maximum over all tokens and
    the first token that reaches it, (0, 0) if it fires nowhere; None if the index does not store it. All
    other values are capped below the maximum.
    """
    found = heat.copy()
    if peak is not None:
        highest, position = np.float32(peak[0]), peak[1]
        found = np.where(found > 0, np.minimum(found, np.nextafter(highest, np.float32(0))), found)
        if highest > 0:
            found[position] = highest
    for token, value in at_tokens.items():
        found[token] = value
    return found


def mass_heat(layer: LayerDecomposition, features: Sequence[int]) -> Float32[np.ndarray, " token"]:
    """The total activation mass of these features at each token: the heatmap of a group."""
    member = np.isin(layer.features, np.asarray(features, dtype=np.int64))
    found: Float32[np.ndarray, " token"] = np.where(member, layer.masses, np.float32(0)).sum(axis=1)
    return found
