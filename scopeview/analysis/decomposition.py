"""Decomposition of an image: the sparse code of each of its tokens, layer by layer, and derived values.

Plain NumPy, so that pages and JSON can use it without torch; `encoder` creates it. Knows one image and its
numbers, no index and no names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from scopeview.slots import ANY, Layer, Slot, token_number
from scopeview.store.records import ActiveFeature, Code


@dataclass(frozen=True)
class StoredValues:
    """Marks the values of an indexed image at one layer that the index stores. All others are approximate.

    An index keeps codes at a few tokens. The rest is computed again from the image's thumbnail, which is
    lossy.
    """

    tokens: frozenset[int]  # whose whole code is stored
    peaks: frozenset[int]  # features whose maximum over all tokens is stored, with its place
    n_active: int | None  # features that fire at some token; None where the index has no `any`


@dataclass(frozen=True)
class LayerDecomposition:
    """One image at one layer, one row per token: CLS, then the patches row by row. `embed` has one row.

    Each row is in descending order of value. A TopK SAE's rows hold its `k` features whatever their sign;
    those of a ReLU SAE (`k` is None) are padded with arbitrary features of value 0. `stored` is None if every
    value was computed from the image's own pixels.
    """

    k: int | None
    features: Int32[np.ndarray, "token kept"]
    values: Float32[np.ndarray, "token kept"]
    norms: Float32[np.ndarray, "token kept"]  # length of the feature's decoder row
    explained_variance: Float32[np.ndarray, " token"]  # `metrics`; NaN where a token has no variance
    mse: Float32[np.ndarray, " token"]
    stored: StoredValues | None = None

    def is_exact_at(self, positions: Sequence[int] | None) -> bool:
        """True if all values at these tokens (None: at all tokens) are exact."""
        wanted = range(self.n_tokens) if positions is None else positions
        return self.stored is None or self.stored.tokens.issuperset(wanted)

    @property
    def n_tokens(self) -> int:
        return len(self.features)

    @cached_property
    def masses(self) -> Float32[np.ndarray, "token kept"]:
        """Activation times the length of the decoder row; 0 for values that are not above zero."""
        masses: Float32[np.ndarray, "token kept"] = self.values * self.norms
        masses[self.values <= 0] = 0
        return masses

    @property
    def l0(self) -> Int64[np.ndarray, " token"]:
        """The number of features that fire at each token."""
        counts: Int64[np.ndarray, " token"] = (self.values > 0).sum(axis=1)
        return counts

    def with_code(
        self,
        token: int,
        features: Int32[np.ndarray, " given"],
        values: Float32[np.ndarray, " given"],
        norms: Float32[np.ndarray, " given"],
    ) -> "LayerDecomposition":
        """A copy with one token's code replaced by the index's, which was made in another batch."""
        missing = max(0, len(features) - self.features.shape[1])
        columns = []
        for before, row in ((self.features, features), (self.values, values), (self.norms, norms)):
            column = np.pad(before, ((0, 0), (0, missing)))
            column[token] = 0
            column[token, : len(row)] = row
            columns.append(column)
        return replace(self, features=columns[0], values=columns[1], norms=columns[2])

    def with_peaks(self, peaks: "StoredPeaks") -> "LayerDecomposition":
        """A copy with the stored maxima at their positions, and no higher values elsewhere."""
        values = _capped(self, peaks)
        rows: list[_Row] = list(zip(self.features, values, self.norms, strict=True))
        for feature, value, position, norm in peaks.firing():
            rows[position] = _with_value(rows[position], feature, value, norm)
        width = max(len(row[0]) for row in rows)
        features, highest, norms = map(np.stack, zip(*(_descending(row, width) for row in rows), strict=True))
        return replace(self, features=features, values=highest, norms=norms)

    @property
    def n_bytes(self) -> int:
        arrays = (self.features, self.values, self.norms, self.explained_variance, self.mse)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class Decomposition:
    """One image, at the requested layers; `embedding` is CLIP's projected image embedding, or None."""

    layers: Mapping[Layer, LayerDecomposition] = field(default_factory=dict)
    embedding: Float32[np.ndarray, " projection"] | None = None

    def covers(self, layers: Iterable[Layer], *, embedding: bool) -> bool:
        return self.layers.keys() >= set(layers) and (self.embedding is not None or not embedding)

    def merged(self, other: "Decomposition") -> "Decomposition":
        """The layers of two decompositions of one image; a layer in both is taken from this one."""
        embedding = other.embedding if self.embedding is None else self.embedding
        return replace(self, layers={**other.layers, **self.layers}, embedding=embedding)

    @property
    def n_bytes(self) -> int:
        own = 0 if self.embedding is None else self.embedding.nbytes
        return own + sum(layer.n_bytes for layer in self.layers.values())


@dataclass(frozen=True)
class StoredPeaks:
    """Maxima over all tokens as an index stores them, one per feature; 0 for a feature that fires nowhere."""

    features: Int32[np.ndarray, " feature"]
    values: Float32[np.ndarray, " feature"]
    positions: Int64[np.ndarray, " feature"]  # the first token that reaches it
    norms: Float32[np.ndarray, " feature"]
    bound: float  # no other feature fires more than this

    def firing(self) -> list[tuple[int, float, int, float]]:
        """(feature, value, position, norm) of the features that fire."""
        columns = (self.features, self.values, self.positions, self.norms)
        return [row for row in zip(*(column.tolist() for column in columns), strict=True) if row[1] > 0]


class Peaks:
    """The features that fire at some of the tokens, with their maxima, in descending order.

    Equal maxima rank by ascending feature; of equal tokens the first counts. These are the rules of `any`.
    """

    def __init__(self, layer: LayerDecomposition, tokens: Sequence[int] | None = None) -> None:
        """`tokens` are positions; None: all tokens."""
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
        """The number of selected tokens at which each feature fires."""
        owner = np.searchsorted(of_feature, features)
        masses = np.bincount(owner, layer.masses[at].astype(np.float64), len(of_feature))
        self.masses = masses[ranked]
        """The activation mass of each feature, summed over the selected tokens."""

    def __len__(self) -> int:
        return len(self.features)


def _capped(layer: LayerDecomposition, peaks: StoredPeaks) -> Float32[np.ndarray, "token kept"]:
    """Lowers values below their feature's stored maximum, which is inserted at its position later."""
    highest = np.full(layer.values.shape, peaks.bound, np.float32)
    order = np.argsort(peaks.features)
    if len(order):
        at = np.searchsorted(peaks.features, layer.features, sorter=order).clip(max=len(order) - 1)
        is_known = peaks.features[order][at] == layer.features
        highest[is_known] = peaks.values[order][at][is_known]
    below = np.nextafter(highest, np.float32(0))
    capped: Float32[np.ndarray, "token kept"] = np.where(
        layer.values > 0, np.minimum(layer.values, below), layer.values
    )
    return capped


_Row = tuple[np.ndarray[Any, np.dtype[Any]], ...]
"""The features, values and decoder row lengths of one token."""


def _with_value(row: _Row, feature: int, value: float, norm: float) -> _Row:
    """Sets the value in the column of that feature, or appends a column for it."""
    found = np.flatnonzero(row[0] == feature)
    at = int(found[0]) if len(found) else len(row[0])
    columns = tuple(np.pad(column, (0, 0 if len(found) else 1)) for column in row)
    for column, new in zip(columns, (feature, value, norm), strict=True):
        column[at] = new
    return columns


def _descending(row: _Row, width: int) -> _Row:
    """Sorts a row in descending order of value, padded with zeros to `width`."""
    padded = [np.pad(column, (0, width - len(column))) for column in row]
    order = np.argsort(-padded[1], kind="stable")
    return tuple(column[order] for column in padded)


def codes_of(decomposition: Decomposition, slots: Iterable[Slot]) -> list[Code]:
    """The image's code at each slot, as an index stores it: at `any` only the k strongest features."""
    return [_code(decomposition.layers[slot.layer], slot) for slot in slots]


def _code(layer: LayerDecomposition, slot: Slot) -> Code:
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


def _fixed(layer: LayerDecomposition, slot: Slot, token: int | None) -> Code:
    values = layer.values[token]
    kept = np.ones_like(values, dtype=bool) if layer.k is not None else values > 0
    pairs = zip(layer.features[token][kept].tolist(), values[kept].tolist(), strict=True)
    active = [ActiveFeature(feature, value, None) for feature, value in pairs]
    return Code(slot.layer, slot.token, int((values > 0).sum()), active)
