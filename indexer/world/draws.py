"""Random draws that are the same on every machine and in every version of Python.

Only `random.Random.random()` is promised to stay the same for a seed; everything here is made of it.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """One stream of draws; scene `number` of world `seed` has its own, so scenes can be made in any order."""

    def __init__(self, seed: int, number: int) -> None:
        # Hashed, because neighbouring integers can give `Random` one and the same state.
        mixed = hashlib.sha256(f"{seed}/{number}".encode()).digest()[:8]
        self._random = random.Random(int.from_bytes(mixed, "big"))

    def integer(self, low: int, high: int) -> int:
        """`low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one_in(self, n: int) -> bool:
        return self.integer(1, n) == 1

    def choice(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]
