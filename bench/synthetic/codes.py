"""Random codes whose features fire as unevenly as real ones: a few on every third image, most on very few.

Pure numpy, no files. A slot's features are drawn from a Zipf-Mandelbrot law over shuffled numbers, so that a
feature's number says nothing about how often it fires. A code's activations are exponential, times a scale
that each feature has. The same seed gives the same codes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt32

from scopeview.slots import ANY, Slot
from scopeview.vision.encoder import SlotCodes

N_TOKENS = 257
DEAD = 0.02
"""Share of a slot's features that never fire."""
_EXPONENT, _SHIFT = 1.05, 30.0
_TICKETS = 1 << 22
_SPARE = 1.5  # draws for each pair that is wanted: the most frequent features come up more than once


@dataclass(frozen=True)
class Law:
    """How often and how strongly the features of one slot fire."""

    tickets: Int32[np.ndarray, " tickets"]  # a feature's probability is its share of these
    scale: Float32[np.ndarray, " features"]  # mean activation


def law_of(slot: Slot, n_features: int, seed: int) -> Law:
    """Returns a slot's law. Slots of a layer share features' scales, but not how often they fire."""
    by_layer = np.random.default_rng([seed, _number(str(slot.layer))])
    order = by_layer.permutation(n_features)
    scale = by_layer.lognormal(0.5, 0.5, n_features).astype(np.float32)
    by_slot = np.random.default_rng([seed, _number(slot.name)])
    weight = (np.arange(n_features) + _SHIFT) ** -_EXPONENT * by_slot.lognormal(0, 0.7, n_features)
    weight[round((1 - DEAD) * n_features) :] = 0
    exact = weight / weight.sum() * _TICKETS
    count = np.floor(exact + by_slot.random(n_features)).astype(np.int64)
    return Law(np.repeat(order, count).astype(np.int32), scale)


def random_codes(law: Law, slot: Slot, n_images: int, k: int, seed: int, shard: int) -> SlotCodes:
    """Returns `k` different features per image, strongest first; at `any`, between 2 and 6 times as many."""
    generator = np.random.default_rng([seed, _number(slot.name), shard])
    widest = 6 * k if slot.token == ANY else k
    draws = min(round(widest * _SPARE) + 8, 4 * len(law.scale))
    features = law.tickets[_below(generator, len(law.tickets), (n_images, draws))]
    values = (generator.standard_exponential((n_images, draws), np.float32) + 0.05) * law.scale[features]
    values[_repeated(features)] = 0
    strongest = np.argsort(values, axis=1)[:, : -widest - 1 : -1]
    features = np.take_along_axis(features, strongest, axis=1)
    values = np.take_along_axis(values, strongest, axis=1)
    kept = values > 0
    if slot.token == ANY:
        kept &= np.arange(widest) < generator.integers(2 * k, widest + 1, (n_images, 1))
    n_pairs = int(kept.sum())
    positions = generator.integers(0, N_TOKENS, n_pairs, np.int16) if slot.token == ANY else None
    return SlotCodes(kept.sum(axis=1, dtype=np.int32), features[kept], values[kept], positions)


def _repeated(features: Int32[np.ndarray, "image draw"]) -> Bool[np.ndarray, "image draw"]:
    """True at every draw of a feature that the image has already drawn."""
    order = np.argsort(features, axis=1)
    in_order = np.take_along_axis(features, order, axis=1)
    again = np.zeros(features.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], in_order[:, 1:] == in_order[:, :-1], axis=1)
    return again


def _below(
    generator: np.random.Generator, end: int, shape: tuple[int, int]
) -> UInt32[np.ndarray, "image draw"]:
    return generator.integers(0, end, shape, np.uint32)


def _number(name: str) -> int:
    """Returns a seed from a name: the same in every process, which `hash` is not."""
    return int.from_bytes(name.encode(), "little")
