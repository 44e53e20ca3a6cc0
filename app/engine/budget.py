"""A time budget per client: seconds of work per minute, which may be used at once.

A request is admitted while the client has time left, and is charged what it took: nobody knows the cost in
advance.
"""

import math
import threading
import time
from collections.abc import Callable

from app.web.errors import ProblemError

_MANY_CLIENTS = 4096


class BudgetSpentError(ProblemError):
    def __init__(self, wait_s: int) -> None:
        detail = (
            "Your address has used up its model time for this minute."
            f" Try again in {wait_s} second{'' if wait_s == 1 else 's'}."
        )
        super().__init__(429, "too_much_model_time", detail, {"Retry-After": str(wait_s)})


class TimeBudget:
    """Counts the seconds that each client has left. Thread-safe."""

    def __init__(
        self,
        seconds_per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_once_s: float | None = None,
    ) -> None:
        """Sets the limits: `seconds_per_minute` 0 means none.

        `at_once_s` is the most that a rested client may use at once; None means a whole minute's budget.
        """
        self._full_s = seconds_per_minute if at_once_s is None else at_once_s
        self._per_s, self._clock = seconds_per_minute / 60, clock
        self._left: dict[str, tuple[float, float]] = {}  # seconds left, and when that was so
        self._lock = threading.Lock()

    def spend(self, client: str, seconds: float) -> None:
        if not self._full_s:
            return
        with self._lock:
            if len(self._left) >= _MANY_CLIENTS:
                self._forget_rested()
            self._left[client] = (self._left_s(client) - seconds, self._clock())

    def refuse_spent(self, client: str) -> None:
        """Raises `BudgetSpentError` for a client that has nothing left."""
        if (owed_s := self.owed_s(client)) is not None:
            raise BudgetSpentError(max(math.ceil(owed_s / self._per_s), 1))

    def owed_s(self, client: str) -> float | None:
        """Returns the seconds by which the client is over its budget; None while it has some left."""
        if not self._full_s:
            return None
        with self._lock:
            left_s = self._left_s(client)
        return -left_s if left_s <= 0 else None

    def _left_s(self, client: str) -> float:
        left_s, then_s = self._left.get(client, (self._full_s, 0.0))
        return min(left_s + (self._clock() - then_s) * self._per_s, self._full_s)

    def _forget_rested(self) -> None:
        self._left = {
            client: left for client, left in self._left.items() if self._left_s(client) < self._full_s
        }
