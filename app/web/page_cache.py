"""A cache of answers that are the same for everyone: compressed, with an ETag.

An index does not change while it is served, so each of its pages is rendered once and then copied. Only
answers that say `Cache-Control: public, no-cache` are kept: each page decides, and one that shows an upload
or sets a cookie never says so. A kept answer is for one edition (the state of the block-list) and expires,
since some pages say whether an encoder is there. Knows nothing of pages or indexes.

Visitors choose what a key is made of, so no key may grow the memory: keys are hashed, an answer counts with
its headers and the cache's own overhead, and names in the query that no route knows are removed first.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from cachetools import TLRUCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.caching import FOR_EVERYONE, etag_matches

MAX_AGE_S = 300.0
_MAX_PART = 16  # of the whole cache that one answer may take
_SELECTING = (
    "accept-encoding",
    "hx-request",
    "hx-target",
    "hx-boosted",
    "hx-history-restore-request",
    "host",
)

_ENTRY_BYTES = 2048
"""The cache's overhead for an answer beside its body and headers: key, names, objects. Counted too high."""
_OF_A_BODY = (b"content-length", b"content-type", b"content-encoding")

_Key = bytes


@dataclass(frozen=True)
class CachedAnswer:
    """One answer with status 200."""

    headers: list[tuple[bytes, bytes]]
    body: bytes = field(repr=False)
    etag: str
    route: Any  # what the request counters name it by
    until_s: float  # of time.monotonic()

    @property
    def n_bytes(self) -> int:
        """The memory that it takes."""
        return _ENTRY_BYTES + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


class PageCache:
    """The most recently used answers, up to a number of bytes. For one event loop: it takes no lock."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_bytes` counts answers with headers and keys; no answer above a sixteenth of it is kept."""
        self.max_bytes = max_bytes
        self.clock = clock
        self._kept = TLRUCache[_Key, CachedAnswer](
            max_bytes, lambda _, kept, __: kept.until_s, timer=clock, getsizeof=lambda kept: kept.n_bytes
        )

    def get(self, key: _Key) -> CachedAnswer | None:
        return self._kept.get(key)

    def put(self, key: _Key, kept: CachedAnswer) -> None:
        self._kept.pop(key, None)
        if kept.n_bytes * _MAX_PART <= self.max_bytes:
            self._kept[key] = kept


class PageCacheMiddleware:
    """Answers a GET from the cache, or keeps the answer to it. Stands outside of compression."""

    def __init__(
        self, app: ASGIApp, cache: PageCache, edition: Callable[[Scope], str], query_names: frozenset[str]
    ) -> None:
        """`edition` is called at every request; answers of another edition are not used.

        `query_names` are those that routes read. Any other is removed from the query of a GET, so that the
        cache and the routes see the same query.
        """
        self.app = app
        self.cache = cache
        self.edition = edition
        self.query_names = query_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not self.cache.max_bytes:
            await self.app(scope, receive, send)
            return
        scope["query_string"] = known_query(scope["query_string"], self.query_names)
        headers = Headers(scope=scope)
        key = self._key(scope, headers)
        kept = self.cache.get(key)
        if kept is None:
            kept = await _Recording(scope, send, self.cache.clock).run(self.app, receive)
            if kept is not None:
                self.cache.put(key, kept)
        else:
            scope["route"] = kept.route
        if kept is not None:
            await _send(kept, headers.get("if-none-match", ""), send)

    def _key(self, scope: Scope, headers: Headers) -> _Key:
        selecting = [headers.get(name, "") for name in _SELECTING]
        parts = (scope["scheme"], scope["path"], scope["query_string"], *selecting, self.edition(scope))
        return hashlib.sha256(repr(parts).encode()).digest()


def known_query(query: bytes, names: frozenset[str]) -> bytes:
    """Returns the query without pairs whose names are not in `names`, the others as sent. Pure."""
    pairs = query.split(b"&")
    known = [pair for pair in pairs if unquote_plus(pair.partition(b"=")[0].decode("latin-1")) in names]
    return query if len(known) == len(pairs) else b"&".join(known)


class _Recording:
    """Holds back an answer that is to be kept while it is made; any other passes through at once."""

    def __init__(self, scope: Scope, send: Send, clock: Callable[[], float]) -> None:
        self._scope, self._send, self._clock = scope, send, clock
        self._start: Message | None = None
        self._body: list[bytes] = []

    async def run(self, app: ASGIApp, receive: Receive) -> CachedAnswer | None:
        """Runs the app, and returns the answer to keep; None if the answer has been sent already."""
        await app(self._scope, receive, self._receive_part)
        if self._start is None:
            return None
        body = b"".join(self._body)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["etag"] = etag
        headers["content-length"] = str(len(body))
        return CachedAnswer(headers.raw, body, etag, self._scope.get("route"), self._clock() + MAX_AGE_S)

    async def _receive_part(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_for_everyone(message):
            self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body.append(message.get("body", b""))
        else:
            await self._send(message)


def _is_for_everyone(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        start["status"] == 200
        and headers.get("cache-control") == FOR_EVERYONE
        and "etag" not in headers  # images and static files answer for themselves
        and "set-cookie" not in headers
    )


async def _send(kept: CachedAnswer, if_none_match: str, send: Send) -> None:
    unchanged = etag_matches(if_none_match, kept.etag)
    headers = [pair for pair in kept.headers if not (unchanged and pair[0] in _OF_A_BODY)]
    await send({"type": "http.response.start", "status": 304 if unchanged else 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if unchanged else kept.body})
