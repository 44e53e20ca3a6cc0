"""A cache of the images that the worker has decomposed, up to a number of bytes."""

import threading
from collections.abc import Hashable
from contextlib import suppress

from cachetools import LRUCache

from scopeview.analysis.decomposition import Decomposition


class DecompositionCache:
    """Decompositions by key; the least recently used is dropped first. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._known = LRUCache[Hashable, Decomposition](max_bytes, getsizeof=lambda known: known.n_bytes)
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        return int(self._known.currsize)

    def get(self, key: Hashable) -> Decomposition:
        """Returns all that is known of the image, which may be nothing."""
        with self._lock:
            return self._known.get(key, Decomposition())

    def add(self, key: Hashable, decomposition: Decomposition) -> Decomposition:
        """Adds to what is known of the image, and returns all of it."""
        with self._lock:
            merged = self._known.pop(key, Decomposition()).merged(decomposition)
            with suppress(ValueError):  # one alone is larger than all that may be remembered
                self._known[key] = merged
            return merged
