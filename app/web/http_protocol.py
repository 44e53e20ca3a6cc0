"""uvicorn's HTTP protocol with a limit on request lines, header fields and trailers.

uvicorn's parser has none, and puts a long field together anew with every piece of it that arrives: one field
of 100 MB blocks every other visitor for 20 seconds. A head beyond the limit is answered 431; one that does
not end in time is cut off.
"""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 20.0
"""The time for a head, from the first byte of a request, or from the connection, to its end."""
LINGER_S = 2.0
"""The rest of a refused head is read for this long at most: closing at once would lose the answer."""

_DETAIL = (
    f"The request line and header fields are too large: at most {MAX_HEAD_BYTES:,} bytes are accepted.\n"
)
_TOO_LARGE: ASGIApp = PlainTextResponse(_DETAIL, 431, {"Connection": "close"})
_ANSWER = (
    "HTTP/1.1 431 Request Header Fields Too Large\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    f"Content-Length: {len(_DETAIL)}\r\n"
    "Connection: close\r\n\r\n"
    f"{_DETAIL}"
).encode()


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    _n_head_bytes = 0  # since the last piece of a body, or the end of a head
    _is_refused = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts a head's bytes; those beyond the limit are at most one read of the socket."""
        if self._is_refused:
            return
        self._n_head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._n_head_bytes > MAX_HEAD_BYTES:
            self._refuse()
        elif self._n_head_bytes and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._n_head_bytes = 0
        n_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if n_bytes > MAX_HEAD_BYTES:
            self.app = _TOO_LARGE  # and the connection is closed
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._n_head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._n_head_bytes = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        """Answers 431 and closes. During another answer, as for trailers, it just closes the connection."""
        self._is_refused = True
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        self.transport.write(_ANSWER)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._head_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
