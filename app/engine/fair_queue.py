"""The job queue: urgent jobs first, then clients in turn.

A client that asks for a hundred images waits behind itself; another client's single image is next.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Urgency(IntEnum):
    """The order of jobs: lower values go first."""

    UPLOAD = 0
    VIEW = 1


class FairQueue(Generic[T]):
    """Waiting items by client. Thread-safe. After `close`, `take` gives out nothing more: see `drain`."""

    def __init__(self) -> None:
        self._lines: list[OrderedDict[str, deque[T]]] = [OrderedDict() for _ in Urgency]
        self._n_waiting = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def qsize(self) -> int:
        """Returns the number of waiting items, plus one once the queue is closed."""
        return self._n_waiting + self._is_closed

    def n_waiting(self, client: str) -> int:
        with self._changed:
            return sum(len(lines.get(client, ())) for lines in self._lines)

    def put(self, item: T, client: str, urgency: Urgency) -> None:
        with self._changed:
            self._lines[urgency].setdefault(client, deque()).append(item)
            self._n_waiting += 1
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self) -> T | None:
        """Waits for the next item and returns it; None once the queue is closed."""
        with self._changed:
            while not self._is_closed and not self._n_waiting:
                self._changed.wait()
            if self._is_closed:
                return None
            lines = next(lines for lines in self._lines if lines)
            client, line = next(iter(lines.items()))
            item = self._pop(lines, client)
            if line:
                lines.move_to_end(client)
            return item

    def take_matching(self, matches: Callable[[T], bool], limit: int) -> list[T]:
        """Takes up to `limit` matching items, each the next of its client, to go with one taken before.

        Does not wait.
        """
        taken = list[T]()
        with self._changed:
            while len(taken) < limit and not self._is_closed:
                found = next(self._heads(matches), None)
                if found is None:
                    break
                lines, client = found
                taken.append(self._pop(lines, client))
                if client in lines:
                    lines.move_to_end(client)
        return taken

    def drain(self) -> list[T]:
        """Removes and returns all waiting items."""
        with self._changed:
            left = [item for lines in self._lines for line in lines.values() for item in line]
            for lines in self._lines:
                lines.clear()
            self._n_waiting = 0
            return left

    def _heads(self, matches: Callable[[T], bool]) -> Iterator[tuple[OrderedDict[str, deque[T]], str]]:
        return (
            (lines, client) for lines in self._lines for client, line in lines.items() if matches(line[0])
        )

    def _pop(self, lines: OrderedDict[str, deque[T]], client: str) -> T:
        line = lines[client]
        item = line.popleft()
        if not line:
            del lines[client]
        self._n_waiting -= 1
        return item
