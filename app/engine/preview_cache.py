"""Social cards drawn recently, kept in memory. For one event loop.

They are drawn one at a time in a thread of low priority, and a request that waits for one holds no other
thread: a crowd of readers must take neither every core nor the threads that make pages.
"""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from cachetools import LRUCache

from app.engine.fair_share import FairLimiter, out_of_turn
from app.engine.worker import yield_to_pages
from app.web.errors import ProblemError

CACHE_SIZE = 48
"""Cards kept, about 300 KB each."""
MAX_WAITING, MAX_WAITING_PER_CLIENT = 256, 64


class TooManyPreviewsError(ProblemError):
    def __init__(self, n_waiting: int, retry_s: int = 10) -> None:
        detail = f"{n_waiting} previews are already queued. Try again in a few seconds."
        super().__init__(503, "busy", detail, {"Retry-After": str(retry_s)})


class Previews:
    """PNGs by what they show; the least recently used is dropped first."""

    def __init__(self, max_previews: int = CACHE_SIZE) -> None:
        self._kept = LRUCache[Hashable, bytes](max_previews)
        self._turn = FairLimiter(1, 1, max_waiting=MAX_WAITING_PER_CLIENT)
        self._n_waiting = 0
        self._thread = ThreadPoolExecutor(1, "previews", initializer=yield_to_pages)

    async def get(self, key: Hashable, draw: Callable[[], bytes]) -> bytes:
        """Returns a card, drawn if needed. Raises a 429 if this client waits for many, a 503 if all do."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        if self._n_waiting >= MAX_WAITING:
            raise TooManyPreviewsError(self._n_waiting)
        self._n_waiting += 1
        try:
            async with out_of_turn(), self._turn:
                if key not in self._kept:  # nobody drew it meanwhile
                    self._kept[key] = await asyncio.wrap_future(self._thread.submit(draw))
                return self._kept[key]
        finally:
            self._n_waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
