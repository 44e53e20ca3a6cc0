"""Random draws that are the same on every machine and in every version of Python.

Only `random.Random.random()` is guaranteed to stay the same for a seed; all draws here are made from it.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class RandomStream:
    """A stream of draws. Scene `number` of world `seed` has its own, so scenes can be made in any order.

    Streams with different `purpose`s are independent of each other.
    """

    def __init__(self, seed: int, number: int, purpose: str = "") -> None:
        # Hashed, because neighboring integers can give `Random` one and the same state.
        mixed = hashlib.sha256(f"{seed}/{number}{purpose}".encode()).digest()[:8]
        self._random = random.Random(int.from_bytes(mixed, "big"))

    def integer(self, low: int, high: int) -> int:
        """A random integer from `low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one_in(self, n: int) -> bool:
        return self.integer(1, n) == 1

    def choice(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in random order (Fisher and Yates)."""
        found = list(items)
        for last in range(len(found) - 1, 0, -1):
            other = self.integer(0, last)
            found[last], found[other] = found[other], found[last]
        return found
