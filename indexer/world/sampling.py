"""Random draws that are the same on every machine and in every version of Python.

Only `random.Random.random()` is promised to stay the same for a seed; everything here is made of it.
"""

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class RandomStream:
    """One stream of draws; scene `number` of world `seed` has its own, so scenes can be made in any order.

    Streams of other `purpose`s have nothing to do with it, nor with one another.
    """

    def __init__(self, seed: int, number: int, purpose: str = "") -> None:
        # Hashed, because neighboring integers can give `Random` one and the same state.
        mixed = hashlib.sha256(f"{seed}/{number}{purpose}".encode()).digest()[:8]
        self._random = random.Random(int.from_bytes(mixed, "big"))

    def integer(self, low: int, high: int) -> int:
        """`low` to `high`, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def one_in(self, n: int) -> bool:
        return self.integer(1, n) == 1

    def choice(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of them, each once (Fisher and Yates)."""
        found = list(items)
        for last in range(len(found) - 1, 0, -1):
            other = self.integer(0, last)
            found[last], found[other] = found[other], found[last]
        return found
