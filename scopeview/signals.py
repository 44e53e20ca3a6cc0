"""Ctrl-C and SIGTERM: how they stop a run, and how a run defers them.

Both raise `KeyboardInterrupt` in the main thread, so that the same code cleans up after either. What happens
next differs between commands; each declares it with `if_stopped`.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object]

RESUMES = "stopped; run the same command again to resume from here"
RESUMES_FROM_CHECKPOINT = "stopped; run the same command again to resume from the last checkpoint"
STARTS_OVER = "stopped; the same command starts over"


class Stopped(BaseException):
    """Ctrl-C or SIGTERM ended a command; the message says what happens when it is run again."""


@contextmanager
def if_stopped(message: str) -> Iterator[None]:
    """Turns the `KeyboardInterrupt` that ends the block into `Stopped`. Also a decorator of commands.

    If blocks are nested, the innermost decides.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Stopped(message) from interrupt


class ReceivedSignal:
    """The signal received; SIGINT if none was seen (a library may handle it)."""

    signal = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """Returns 130 after SIGINT, 143 after SIGTERM, as shells do."""
        return 128 + self.signal


@contextmanager
def sigterm_as_interrupt() -> Iterator[ReceivedSignal]:
    """SIGTERM raises `KeyboardInterrupt` while the block runs and is recorded; in the main thread only."""
    noted = ReceivedSignal()

    def interrupt(number: int, _: FrameType | None) -> None:
        noted.signal = signal.Signals(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGTERM, before)


class Deferred:
    """A requested stop that waits for a good moment."""

    def __init__(self) -> None:
        self._waiting: tuple[Handler, int, FrameType | None] | None = None

    @property
    def is_asked(self) -> bool:
        return self._waiting is not None

    def stop_if_asked(self) -> None:
        """Calls the signal's previous handler, which usually raises `KeyboardInterrupt`."""
        if self._waiting is not None:
            handler, number, frame = self._waiting
            self._waiting = None
            handler(number, frame)

    def ask(self, handler: Handler, number: int, frame: FrameType | None) -> None:
        """Defers the first signal; obeys a second one immediately."""
        if self._waiting is not None:
            handler(number, frame)
        self._waiting = (handler, number, frame)


@contextmanager
def deferred_stop() -> Iterator[Deferred]:
    """Defers a first Ctrl-C or SIGTERM until `stop_if_asked` is called or the block ends."""
    deferred = Deferred()
    if threading.current_thread() is not threading.main_thread():
        yield deferred
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    caught = {number: handler for number, handler in before.items() if callable(handler)}
    for number, handler in caught.items():
        signal.signal(number, partial(deferred.ask, handler))
    try:
        yield deferred
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
    deferred.stop_if_asked()


@contextmanager
def pausable() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns True once Ctrl-C or SIGTERM has requested a pause.

    The caller then saves and raises `KeyboardInterrupt`. A second Ctrl-C interrupts at once. Outside the main
    thread, where signals cannot be caught, the function always returns False.
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
