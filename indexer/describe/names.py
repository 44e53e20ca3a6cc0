"""Names: the words of a vocabulary that lie nearest to a feature's vector in CLIP's joint space.

Feature vectors are offsets from the mean image; words are taken as they are. Measured on the procedural
world, whose truth is known, as the share of a feature's top nine images that show what its first name says,
less the share of all images: 0.50, 0.46 without the offset, and 0.24 with words as offsets from their mean
too, which says more of the list than of them. Templates around well-put words change nothing there.
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
    """Each word's mean over the templates, at unit length."""
    return unit_rows(
        np.mean([tower.embed([template.format(word) for word in words]) for template in templates], axis=0)
    )


def nearest_words(
    vectors: Float32[np.ndarray, "feature projection"],
    words: Float32[np.ndarray, "word projection"],
    n_names: int,
) -> Names:
    """Rows are of unit length. Equal cosines come in the order of the vocabulary."""
    n_kept = min(n_names, len(words))
    places, scores = np.empty((len(vectors), n_kept), np.int64), np.empty((len(vectors), n_kept), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        cosines = vectors[start : start + _CHUNK] @ words.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :n_kept]
        places[start : start + _CHUNK] = order
        scores[start : start + _CHUNK] = np.take_along_axis(cosines, order, axis=1)
    return Names(places, scores)
