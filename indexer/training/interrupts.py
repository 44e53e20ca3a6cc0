"""Ctrl-C as a pause: the step under way is finished and saved before the run ends."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def pausable() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C (or SIGTERM) has asked for a pause since.

    The caller then saves and raises `KeyboardInterrupt`. A second Ctrl-C interrupts at once. Outside the main
    thread, where signals cannot be caught, the answer is always no.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
