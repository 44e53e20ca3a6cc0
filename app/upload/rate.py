"""How many pictures one client may send in a minute, so that nobody takes all the places of the others.

Counted by `limits` (slowapi, which builds on it, binds routes and answers errors in ways of its own), in a
sliding window: a burst is let through, and what is refused does not count. `limits` has an exact moving
window too, but keeps a list for every client that ever came, and looks through all of them each time.
"""

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.problems import ProblemError


class UploadRate:
    """Call from any thread."""

    def __init__(self, a_minute: int) -> None:
        """0: as many as they like."""
        self._a_minute = a_minute
        self._limit = RateLimitItemPerMinute(max(a_minute, 1))
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def refuse_too_many(self, client: str) -> None:
        """Counts this one. Raises a 429 that says when to come back for one too many of this client."""
        if not self._a_minute or self._limiter.hit(self._limit, "upload", client):
            return
        reset_s = self._limiter.get_window_stats(self._limit, "upload", client).reset_time
        wait_s = max(math.ceil(reset_s - time.time()), 1)
        pictures = "picture" if self._a_minute == 1 else "pictures"
        detail = (
            f"At most {self._a_minute} {pictures} a minute are taken from one address."
            f" The next one can be sent in {wait_s} second{'' if wait_s == 1 else 's'}."
        )
        raise ProblemError(429, "too_many_uploads", detail, {"Retry-After": str(wait_s)})
