"""Previews that were drawn lately: a link that is shared is read by many at once. Call from any thread."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

MOST = 48
"""Some 300 KB each."""


class Previews:
    """PNGs by what is on them, the longest unused forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._drawing = threading.Lock()

    def get(self, key: Hashable, draw: Callable[[], bytes]) -> bytes:
        """Draws what is not kept, one at a time: a crowd of readers must not take every core."""
        with self._drawing:
            if key not in self._kept:
                self._kept[key] = draw()
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[key]
