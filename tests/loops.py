"""Event loops for tests that are not asynchronous themselves."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")


def on_a_loop(call: Callable[[], Awaitable[T]]) -> T:
    """What the call comes to, on a loop in a thread of its own.

    Where browser tests ran before in the same process, Playwright's loop still runs in this one, and
    `asyncio.run` would refuse.
    """
    with start_blocking_portal() as portal:
        return portal.call(call)
