"""A picture taken apart: the sparse code of each of its tokens, layer by layer, and what follows from it.

Plain NumPy, so that pages and JSON can be made of it without torch; `encoder` makes it. Knows one picture and
its numbers, no index and no names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Int32, Int64

from scopeview.slots import ANY, Layer, Slot, token_number
from scopeview.store.records import ActiveFeature, Code


@dataclass(frozen=True)
class LayerApart:
    """One picture at one layer, a row a token: CLS, then the patches row by row. `embed` has one row.

    Rows are in descending order of value. A TopK SAE's rows hold its `k` features whatever their sign; those
    of a ReLU SAE (`k` is None) are filled up with any features at the value 0.
    """

    k: int | None
    features: Int32[np.ndarray, "token kept"]
    values: Float32[np.ndarray, "token kept"]
    norms: Float32[np.ndarray, "token kept"]  # length of the feature's decoder row
    explained_variance: Float32[np.ndarray, " token"]  # `metrics`; NaN where a token has no variance
    mse: Float32[np.ndarray, " token"]

    @property
    def n_tokens(self) -> int:
        return len(self.features)

    @cached_property
    def masses(self) -> Float32[np.ndarray, "token kept"]:
        """Activation times the length of the decoder row; 0 where a kept value is not above zero."""
        masses: Float32[np.ndarray, "token kept"] = self.values * self.norms
        masses[self.values <= 0] = 0
        return masses

    @property
    def l0(self) -> Int64[np.ndarray, " token"]:
        """Features that fire at each token."""
        counts: Int64[np.ndarray, " token"] = (self.values > 0).sum(axis=1)
        return counts

    def with_code(
        self,
        token: int,
        features: Int32[np.ndarray, " given"],
        values: Float32[np.ndarray, " given"],
        norms: Float32[np.ndarray, " given"],
    ) -> "LayerApart":
        """The same, but for the code of one token: as an index keeps it, made in another batch."""
        missing = max(0, len(features) - self.features.shape[1])
        columns = []
        for before, row in ((self.features, features), (self.values, values), (self.norms, norms)):
            column = np.pad(before, ((0, 0), (0, missing)))
            column[token] = 0
            column[token, : len(row)] = row
            columns.append(column)
        return replace(self, features=columns[0], values=columns[1], norms=columns[2])

    @property
    def n_bytes(self) -> int:
        arrays = (self.features, self.values, self.norms, self.explained_variance, self.mse)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class Apart:
    """One picture, at as many layers as were asked for; `embedding` is CLIP's, as projected, or None."""

    layers: Mapping[Layer, LayerApart] = field(default_factory=dict)
    embedding: Float32[np.ndarray, " projection"] | None = None

    def holds(self, layers: Iterable[Layer], *, embedding: bool) -> bool:
        return self.layers.keys() >= set(layers) and (self.embedding is not None or not embedding)

    def joined(self, other: "Apart") -> "Apart":
        """What either holds of the same picture; of a layer that both hold, what is here already."""
        embedding = other.embedding if self.embedding is None else self.embedding
        return replace(self, layers={**other.layers, **self.layers}, embedding=embedding)

    @property
    def n_bytes(self) -> int:
        own = 0 if self.embedding is None else self.embedding.nbytes
        return own + sum(layer.n_bytes for layer in self.layers.values())


class Peaks:
    """The features that fire at some of the tokens: where each is highest, in descending order of that.

    Equal maxima rank by ascending feature, and of equal tokens the first counts: the rules of `any`.
    """

    def __init__(self, layer: LayerApart, tokens: Sequence[int] | None = None) -> None:
        """`tokens` are positions, None all of them."""
        chosen = (
            np.arange(layer.n_tokens) if tokens is None else np.unique(np.asarray(tokens, dtype=np.int64))
        )
        rows, columns = np.nonzero(layer.values[chosen] > 0)
        at = (chosen[rows], columns)
        features, values = layer.features[at], layer.values[at]
        order = np.lexsort((at[0], -values, features))
        of_feature, first, n_tokens = np.unique(features[order], return_index=True, return_counts=True)
        highest = order[first]
        ranked = np.lexsort((of_feature, -values[highest]))
        self.features: Int32[np.ndarray, " feature"] = of_feature[ranked]
        self.values: Float32[np.ndarray, " feature"] = values[highest][ranked]
        self.positions: Int64[np.ndarray, " feature"] = at[0][highest][ranked]
        self.n_tokens: Int64[np.ndarray, " feature"] = n_tokens[ranked]
        """Tokens, of those chosen, at which it fires."""
        owner = np.searchsorted(of_feature, features)
        masses = np.bincount(owner, layer.masses[at].astype(np.float64), len(of_feature))
        self.masses = masses[ranked]
        """Summed over the tokens chosen."""

    def __len__(self) -> int:
        return len(self.features)


def codes_of(apart: Apart, slots: Iterable[Slot]) -> list[Code]:
    """The picture's code at each slot, as an index has it: at `any` the k strongest."""
    return [_code(apart.layers[slot.layer], slot) for slot in slots]


def _code(layer: LayerApart, slot: Slot) -> Code:
    if slot.token == ANY:
        peaks = Peaks(layer)
        listed = slice(layer.k)
        pairs = zip(
            peaks.features[listed].tolist(),
            peaks.values[listed].tolist(),
            peaks.positions[listed].tolist(),
            strict=True,
        )
        return Code(slot.layer, slot.token, len(peaks), [ActiveFeature(*pair) for pair in pairs])
    return _fixed(layer, slot, token_number(slot.token))


def _fixed(layer: LayerApart, slot: Slot, token: int | None) -> Code:
    values = layer.values[token]
    kept = np.ones_like(values, dtype=bool) if layer.k is not None else values > 0
    pairs = zip(layer.features[token][kept].tolist(), values[kept].tolist(), strict=True)
    active = [ActiveFeature(feature, value, None) for feature, value in pairs]
    return Code(slot.layer, slot.token, int((values > 0).sum()), active)
