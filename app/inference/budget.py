"""How long the model may work for one client: some seconds a minute, which may be used at once.

A request is let in while the client has any left, and costs what it took: nobody knows that before.
"""

import math
import threading
import time
from collections.abc import Callable

from app.problems import ProblemError

_MANY_CLIENTS = 4096


class BudgetSpentError(ProblemError):
    def __init__(self, wait_s: int) -> None:
        detail = (
            "The model has worked a lot for your address in the last minute."
            f" Try again in {wait_s} second{'' if wait_s == 1 else 's'}."
        )
        super().__init__(429, "too_much_model_time", detail, {"Retry-After": str(wait_s)})


class ModelBudget:
    """Call from any thread."""

    def __init__(self, seconds_per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """0: no bound."""
        self._full_s, self._per_s, self._clock = seconds_per_minute, seconds_per_minute / 60, clock
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
        if not self._full_s:
            return
        with self._lock:
            left_s = self._left_s(client)
        if left_s <= 0:
            raise BudgetSpentError(max(math.ceil(-left_s / self._per_s), 1))

    def _left_s(self, client: str) -> float:
        left_s, then_s = self._left.get(client, (self._full_s, 0.0))
        return min(left_s + (self._clock() - then_s) * self._per_s, self._full_s)

    def _forget_rested(self) -> None:
        self._left = {
            client: left for client, left in self._left.items() if self._left_s(client) < self._full_s
        }
