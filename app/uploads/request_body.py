"""Reads a request's body, and discards the rest of it once the answer is known.

A server that answers and closes while the sender is still sending resets the connection, and the sender may
never see the answer: a 503 would look like a crash. So the rest is read and thrown away, within bounds.
"""

import asyncio
from contextlib import suppress

from starlette.requests import Request
from starlette.types import Message, Receive

DISCARD_S = 10.0
"""A refused body is read for this long at most."""


class IncomingBody:
    """Passes on what a request receives, and knows when the body has ended."""

    def __init__(self, receive: Receive, *, asks_first: bool = False) -> None:
        """`asks_first`: the sender waits for a go-ahead (`Expect: 100-continue`) before it sends anything."""
        self._receive, self._asks_first = receive, asks_first
        self._ended = False

    @classmethod
    def of(cls, request: Request) -> "IncomingBody":
        return cls(request.receive, asks_first="expect" in request.headers)

    async def receive(self) -> Message:
        message = await self._receive()
        self._asks_first = False
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def left(self) -> None:
        """Returns when the sender's connection ends. Call it after the body."""
        while (await self._receive())["type"] == "http.request":
            await asyncio.sleep(0)

    async def discard(self, max_bytes: int) -> None:
        """Reads to the end, but at most `max_bytes` and for `DISCARD_S`."""
        if self._asks_first:
            return
        n_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self._ended and n_bytes <= max_bytes:
                    n_bytes += len((await self.receive()).get("body", b""))
