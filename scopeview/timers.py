"""Measures how a long run spends its time: seconds by name, on the host's clock or the device's own.

On a CUDA device, spans are measured by events that are read at the end, so that measuring does not make the
host wait for the device.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Stopwatch:
    """Adds up the spans of each name. Can be shared by threads."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._events: list[tuple[str, Any, Any]] = []
        self._lock = threading.Lock()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Measures the block on the host's clock."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += time.perf_counter() - started

    def add(self, name: str, seconds: float) -> None:
        """Adds a time measured elsewhere."""
        with self._lock:
            self._seconds[name] += seconds

    @contextmanager
    def device_span(self, name: str) -> Iterator[None]:
        """Measures how long the device is busy with the block's work; on a CPU, the host's own time."""
        if self._device is None or self._device.type != "cuda":
            with self.span(name):
                yield
            return
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        yield
        end.record()
        with self._lock:
            self._events.append((name, start, end))

    def seconds(self) -> dict[str, float]:
        """The seconds by name, so far; waits for the device."""
        with self._lock:
            for name, start, end in self._events:
                end.synchronize()
                self._seconds[name] += start.elapsed_time(end) / 1e3
            self._events.clear()
            return dict(self._seconds)
