"""Names: the words of a vocabulary that lie nearest to a feature's vector in CLIP's joint space.

Feature vectors are offsets from the mean image; words are not offset. This was measured on the procedural
world, where the truth is known, as the share of a feature's top nine images that show its first name, minus
the share among all images: 0.50; without the offset 0.46; with words as offsets from their mean too, 0.24,
which then depends more on the word list than on the words. Templates around well-chosen words change nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

from scopeview.store.vectors import unit_rows

_CHUNK = 2048


@runtime_checkable
class NamingTower(Protocol):
    """A model that embeds texts at unit length."""

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text projection"]: ...


class Names(NamedTuple):
    """The names of each feature, best first: positions in the vocabulary, and cosines."""

    words: Int64[np.ndarray, "feature name"]
    scores: Float32[np.ndarray, "feature name"]


def word_vectors(
    tower: NamingTower, words: Sequence[str], templates: Sequence[str]
) -> Float32[np.ndarray, "word projection"]:
    """The mean of each word's embeddings over the templates, at unit length."""
    return unit_rows(
        np.mean([tower.embed([template.format(word) for word in words]) for template in templates], axis=0)
    )


def nearest_words(
    vectors: Float32[np.ndarray, "feature projection"],
    words: Float32[np.ndarray, "word projection"],
    n_names: int,
) -> Names:
    """The `n_names` nearest words of each row, at unit length. Equal cosines are in vocabulary order."""
    n_kept = min(n_names, len(words))
    places, scores = np.empty((len(vectors), n_kept), np.int64), np.empty((len(vectors), n_kept), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        cosines = vectors[start : start + _CHUNK] @ words.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :n_kept]
        places[start : start + _CHUNK] = order
        scores[start : start + _CHUNK] = np.take_along_axis(cosines, order, axis=1)
    return Names(places, scores)
