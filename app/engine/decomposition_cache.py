"""What the worker remembers of images it has analyzed, up to a number of bytes.

The standard library's `OrderedDict` does: cachetools' LRU has the same few lines, but no lock and no types.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from scopeview.analysis.decomposition import Decomposition


class DecompositionCache:
    """Images by key, the longest unused forgotten first. Call from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, Decomposition] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def get(self, key: Hashable) -> Decomposition:
        """All that is known of the image, maybe nothing."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key, Decomposition())

    def add(self, key: Hashable, apart: Decomposition) -> Decomposition:
        """Adds to what is known of the image, and gives all of it."""
        with self._lock:
            known = self._held.pop(key, Decomposition())
            merged = known.merged(apart)
            self._held[key] = merged
            self._n_bytes += merged.n_bytes - known.n_bytes
            while self._n_bytes > self._max_bytes:
                _, forgotten = self._held.popitem(last=False)
                self._n_bytes -= forgotten.n_bytes
            return merged
