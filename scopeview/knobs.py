"""Knobs: features of a picture turned up or down at one layer, for some of its tokens or all.

What is turned and by how much it changes each token's code, in plain NumPy; `steering` runs the network on.
Also what a change does to zero-shot probabilities. Knows no model and no request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from scopeview.apart import LayerApart
from scopeview.heatmap import heats
from scopeview.slots import Layer

Turn = Literal["set", "scale"]


@dataclass(frozen=True)
class Edit:
    """`set`: the activation becomes `amount`; `scale`: what it is becomes `amount` times as much.

    A feature that is not kept at a token has the activation 0 there: it can be set, and not scaled.
    """

    features: tuple[int, ...]
    turn: Turn
    amount: float


@dataclass(frozen=True)
class Knobs:
    """Edits at one layer, one after the other; `tokens` are positions, None all of them."""

    layer: Layer
    edits: tuple[Edit, ...]
    tokens: tuple[int, ...] | None = None


class CodeChange(NamedTuple):
    """By how much the activation of each feature that is turned changes at each token; 0 at all others."""

    features: Int64[np.ndarray, " feature"]
    difference: Float32[np.ndarray, "token feature"]


def code_change(layer: LayerApart, knobs: Knobs) -> CodeChange:
    """Of a picture whose code at the layer is given. Tokens that the layer has not are left out."""
    features = sorted({feature for edit in knobs.edits for feature in edit.features})
    before = heats(layer, features)
    after = before.copy()
    chosen = np.zeros(layer.n_tokens, dtype=bool)
    chosen[[*range(layer.n_tokens)] if knobs.tokens is None else _within(knobs.tokens, layer.n_tokens)] = True
    for edit in knobs.edits:
        rows = np.searchsorted(features, edit.features)
        at = np.ix_(rows, chosen)
        after[at] = edit.amount if edit.turn == "set" else after[at] * np.float32(edit.amount)
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
    """Of two embeddings: 1 where an edit has left the direction as it was."""
    lengths = np.linalg.norm(one.astype(np.float64)) * np.linalg.norm(other.astype(np.float64))
    return float(one.astype(np.float64) @ other.astype(np.float64) / lengths)


def _within(tokens: Sequence[int], n_tokens: int) -> list[int]:
    return [token for token in tokens if 0 <= token < n_tokens]
