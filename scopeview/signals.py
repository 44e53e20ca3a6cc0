"""Ctrl-C and SIGTERM: the two ways in which a run is asked to stop, and how long it may put that off.

Both raise `KeyboardInterrupt` in the main thread, so that whatever cleans up after one cleans up after the
other. What is true afterwards differs from command to command, so each says it by `if_stopped`. Knows nothing
of what is being run.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], object]

GOES_ON = "stopped; the same command goes on from here"
GOES_ON_FROM_SAVE = "stopped; the same command goes on from what was saved last"
BEGINS_AGAIN = "stopped; the same command begins again from the start"


class Stopped(BaseException):
    """Ctrl-C or SIGTERM ended a command; the message says what the same command does next."""


@contextmanager
def if_stopped(message: str) -> Iterator[None]:
    """Turns the `KeyboardInterrupt` that ends the block into `Stopped`. Also a decorator of commands.

    Of blocks inside each other the innermost is heard.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise Stopped(message) from interrupt


class Noted:
    """Which signal has come; Ctrl-C where none was seen (a terminal's own way, or a library's)."""

    signal = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """As shells have it: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.signal


@contextmanager
def sigterm_as_interrupt() -> Iterator[Noted]:
    """SIGTERM raises `KeyboardInterrupt` while the block runs, and is noted; in the main thread only."""
    noted = Noted()

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
    """A stop that was asked for and is waiting for a good moment."""

    def __init__(self) -> None:
        self._waiting: tuple[Handler, int, FrameType | None] | None = None

    @property
    def is_asked(self) -> bool:
        return self._waiting is not None

    def stop_if_asked(self) -> None:
        """Does what the signal would have done when it came: raises `KeyboardInterrupt`, as a rule."""
        if self._waiting is not None:
            handler, number, frame = self._waiting
            self._waiting = None
            handler(number, frame)

    def ask(self, handler: Handler, number: int, frame: FrameType | None) -> None:
        """The first time it is put off; a second signal is obeyed at once."""
        if self._waiting is not None:
            handler(number, frame)
        self._waiting = (handler, number, frame)


@contextmanager
def deferred_stop() -> Iterator[Deferred]:
    """Holds a first Ctrl-C or SIGTERM back until `stop_if_asked` is called, or the block ends."""
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
