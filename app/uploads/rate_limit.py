"""Limits of uploads per client: at a time, and per minute.

`limits` counts those of a minute (slowapi, which builds on it, binds routes and answers errors in ways of its
own). Its sliding window lets a burst through, and does not count refused uploads. `limits` has an exact
moving window too, but that keeps a list for every client that ever came, and looks through all of them each
time.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.engine.errors import BusyError
from app.web.errors import ProblemError


class UploadRate:
    """Limits the uploads of each client per minute. Thread-safe."""

    def __init__(self, a_minute: int) -> None:
        """`a_minute` 0: no limit."""
        self._a_minute = a_minute
        self._limit = RateLimitItemPerMinute(max(a_minute, 1))
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def refuse_too_many(self, client: str) -> None:
        """Counts this upload. If the client sends too many, raises a 429 that says when to come back."""
        if not self._a_minute or self._limiter.hit(self._limit, "upload", client):
            return
        reset_s = self._limiter.get_window_stats(self._limit, "upload", client).reset_time
        wait_s = max(math.ceil(reset_s - time.time()), 1)
        images = "image" if self._a_minute == 1 else "images"
        detail = (
            f"The limit is {self._a_minute} {images} a minute from one address."
            f" Try again in {wait_s} second{'' if wait_s == 1 else 's'}."
        )
        raise ProblemError(429, "too_many_uploads", detail, {"Retry-After": str(wait_s)})


class UploadPlaces:
    """Limits how many uploads are read or analyzed at a time, in all and per client. For one event loop."""

    def __init__(self, total: int, per_client: int) -> None:
        """`per_client` 0: as many as `total`."""
        self._total, self._per_client = total, per_client or total
        self._n_sending = Counter[str]()

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Holds a place. Raises a 429 if this client has all its places, `BusyError` if none is left."""
        if self._n_sending[client] >= self._per_client:
            detail = (
                f"{self._per_client} images from your address are already being analyzed. Try again soon."
            )
            raise ProblemError(429, "too_many_at_once", detail, {"Retry-After": "5"})
        if self._n_sending.total() >= self._total:
            raise BusyError(self._total)
        self._n_sending[client] += 1
        try:
            yield
        finally:
            self._n_sending[client] -= 1
            if not self._n_sending[client]:
                del self._n_sending[client]
