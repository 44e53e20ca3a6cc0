"""A kind of object: flat outlines, the one at the back first, and how far it may be rotated.

An outline names its part in the colouring, never a colour: any kind comes in any colour.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from indexer.world.geometry import Outline, whole

Part = Literal["main", "dark", "light", "paper", "ink", "wood", "leaf", "accent"]


class Layer(NamedTuple):
    part: Part
    outline: Outline


@dataclass(frozen=True)
class Kind:
    name: str
    layers: tuple[Layer, ...]
    max_turn_degrees: int

    @cached_property
    def points(self) -> Int64[np.ndarray, "point 2"]:
        """The points of all layers, one after another, in `UNIT`s."""
        return np.concatenate([whole(layer.outline) for layer in self.layers])

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The index after the last point of each layer."""
        return tuple(np.cumsum([len(layer.outline) for layer in self.layers]).tolist())
