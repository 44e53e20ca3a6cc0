"""Feature edits: activations of an image set or scaled at one layer, at some of its tokens or all.

Computes how edits change each token's code, in plain NumPy; `steering` runs the network from there. Also
computes zero-shot probabilities before and after. Knows no model and no request.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.heatmap import feature_heatmaps
from scopeview.errors import InputError
from scopeview.slots import Layer, parse_number

EditKind = Literal["set", "scale"]

_NUMBER = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,6})?")


@dataclass(frozen=True)
class Edit:
    """`set`: the activation becomes `amount`. `scale`: the activation is multiplied by `amount`.

    A feature not kept at a token has the activation 0 there, so that it can be set but not scaled.
    """

    features: tuple[int, ...]
    kind: EditKind
    amount: float


@dataclass(frozen=True)
class FeatureEdits:
    """Edits at one layer, applied in order; `tokens` are positions, None: all tokens."""

    layer: Layer
    edits: tuple[Edit, ...]
    tokens: tuple[int, ...] | None = None


class CodeChange(NamedTuple):
    """The change of each edited feature's activation at each token; 0 at tokens that are not edited."""

    features: Int64[np.ndarray, " feature"]
    difference: Float32[np.ndarray, "token feature"]


class SteeredEmbeddings(NamedTuple):
    """CLIP's projected embedding of the image, without and with the edits."""

    before: Float32[np.ndarray, " projection"]
    after: Float32[np.ndarray, " projection"]


def parse_edit(text: str) -> Edit:
    """`12,55:x0.5` halves features 12 and 55, `12:0` sets feature 12 to 0. Raises `InputError`."""
    numbers, _, amount = text.partition(":")
    features = [parse_number(number) for number in numbers.split(",")]
    kind: EditKind = "scale" if amount.startswith("x") else "set"
    value = _amount(amount.removeprefix("x"))
    if None in features or value is None:
        raise InputError(
            f"Invalid edit {text[:80]!r}. Expected for example 12:0 (set feature 12 to 0), 12:4.5,"
            " or 12,55:x0.5 (halve features 12 and 55)."
        )
    return Edit(tuple(dict.fromkeys(number for number in features if number is not None)), kind, value)


def format_edit(edit: Edit) -> str:
    """The inverse of `parse_edit`."""
    factor = "x" if edit.kind == "scale" else ""
    return f"{','.join(map(str, edit.features))}:{factor}{edit.amount:g}"


def code_change(layer: LayerDecomposition, edits: FeatureEdits) -> CodeChange:
    """The change of an image's code at the layer. Tokens that the layer lacks are ignored."""
    features = sorted({feature for edit in edits.edits for feature in edit.features})
    before = feature_heatmaps(layer, features)
    after = before.copy()
    chosen = np.zeros(layer.n_tokens, dtype=bool)
    chosen[[*range(layer.n_tokens)] if edits.tokens is None else _within(edits.tokens, layer.n_tokens)] = True
    for edit in edits.edits:
        rows = np.searchsorted(features, edit.features)
        at = np.ix_(rows, chosen)
        after[at] = edit.amount if edit.kind == "set" else after[at] * np.float32(edit.amount)
    return CodeChange(np.asarray(features, dtype=np.int64), (after - before).T)


def zero_shot(
    embedding: Float32[np.ndarray, " projection"],
    prompts: Float32[np.ndarray, "prompt projection"],
    logit_scale: float,
) -> Float64[np.ndarray, " prompt"]:
    """CLIP's probability of each prompt for an image: the softmax of scaled cosines, summing to one.

    `prompts` are of unit length; `logit_scale` is the number that the model was trained to multiply by.
    """
    image = embedding.astype(np.float64)
    logits = logit_scale * (prompts.astype(np.float64) @ image) / np.linalg.norm(image)
    chances = np.exp(logits - logits.max())
    found: Float64[np.ndarray, " prompt"] = chances / chances.sum()
    return found


def cosine(one: Float32[np.ndarray, " projection"], other: Float32[np.ndarray, " projection"]) -> float:
    """The cosine of two embeddings: 1 if an edit did not change the direction."""
    lengths = np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64))
    return float(one.astype(np.float64) @ other.astype(np.float64) / lengths)


def _amount(text: str) -> float | None:
    """Parses a number with at most six digits on either side of the point; None for any other text."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _within(tokens: Sequence[int], n_tokens: int) -> list[int]:
    return [token for token in tokens if 0 <= token < n_tokens]
