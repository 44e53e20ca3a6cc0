"""The cache of pages: what it keeps, for whom, and for how long."""

import gc
import tracemalloc
from dataclasses import dataclass, field

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.web.caching import FOR_EVERYONE
from app.web.page_cache import MAX_AGE_S, CachedAnswer, PageCache, PageCacheMiddleware
from tests.loops import on_a_loop


@dataclass
class Pages:
    """An application that counts how often it is asked; the body names the path and the count."""

    headers: dict[str, str] = field(default_factory=lambda: {"cache-control": FOR_EVERYONE})
    status: int = 200
    asked: int = 0
    queries: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        self.asked += 1
        self.queries.append(scope["query_string"])
        scope["route"] = "a route"
        raw = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        for part in (scope["path"], " ", str(self.asked)):
            await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Browser:
    """Asks a cache before these pages; it can set the time and the edition."""

    pages: Pages
    max_bytes: int = 1_000_000
    edition: str = ""
    now_s: float = 0.0

    def __post_init__(self) -> None:
        cache = PageCache(self.max_bytes, lambda: self.now_s)
        self.app = PageCacheMiddleware(self.pages, cache, lambda _: self.edition, frozenset({"token"}))

    def get(
        self, path: str = "/a", query: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, Headers, str]:
        sent: list[Message] = []
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "query_string": query.encode(),
            "headers": raw,
        }

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        on_a_loop(lambda: self.app(scope, receive, send))
        assert scope["route"] == "a route"
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], Headers(raw=sent[0]["headers"]), body.decode()


def test_what_is_for_everyone_is_made_once() -> None:
    browser = Browser(Pages())
    first, again = browser.get(), browser.get()
    assert first == again
    assert first[2] == "/a 1"
    assert first[1]["content-length"] == "4"


def test_other_paths_queries_and_selecting_headers_are_other_answers() -> None:
    browser = Browser(Pages())
    asked: list[dict[str, str]] = [
        {},
        {"path": "/b"},
        {"query": "token=cls"},
        {"hx_request": "true"},
        {"hx_request": "true", "hx_target": "more"},
        {"accept_encoding": "gzip, br"},
        {"host": "example.org"},
    ]
    assert len({browser.get(**each)[2] for each in asked}) == len(asked)
    assert browser.pages.asked == len(asked)


@pytest.mark.parametrize(
    "pages",
    [
        Pages({"cache-control": "no-cache"}),
        Pages({"cache-control": "private, no-store"}),
        Pages({}),
        Pages({"cache-control": FOR_EVERYONE, "set-cookie": "key=1"}),
        Pages({"cache-control": FOR_EVERYONE, "etag": '"of its own"'}),
        Pages(status=404),
        Pages(status=302),
    ],
    ids=str,
)
def test_anything_else_is_made_each_time(pages: Pages) -> None:
    browser = Browser(pages)
    assert [browser.get()[2], browser.get()[2]] == ["/a 1", "/a 2"]


def test_only_get_is_answered_from_it() -> None:
    browser = Browser(Pages())
    assert [browser.get()[2], browser.get(method="POST")[2]] == ["/a 1", "/a 2"]


def test_a_browser_that_holds_the_answer_is_told_so() -> None:
    browser = Browser(Pages({"cache-control": FOR_EVERYONE, "content-type": "text/html", "vary": "accept"}))
    etag = browser.get()[1]["etag"]
    status, headers, body = browser.get(if_none_match=f'"other", W/{etag}')
    assert (status, body) == (304, "")
    assert (headers["etag"], headers["vary"]) == (etag, "accept")
    assert "content-type" not in headers
    assert browser.get(if_none_match='"other"')[0] == 200


def test_another_edition_and_old_age_end_it() -> None:
    browser = Browser(Pages())
    browser.get()
    browser.edition = "an image was blocked"
    assert browser.get()[2] == "/a 2"
    browser.now_s = MAX_AGE_S + 1
    assert browser.get()[2] == "/a 3"


def kept(body: bytes = b"0123456789", headers: list[tuple[bytes, bytes]] | None = None) -> CachedAnswer:
    return CachedAnswer(headers or [], body, "tag", None, 1e18)


def test_the_least_recently_used_goes_when_it_is_full() -> None:
    answer = kept()
    cache = PageCache(16 * answer.n_bytes)
    for letter in b"abcdefghijklmnop":
        cache.put(bytes([letter]), answer)
    assert cache.get(b"a") is answer
    cache.put(b"q", answer)
    assert cache.get(b"b") is None
    assert cache.get(b"a") is answer


def test_an_answer_that_would_fill_it_is_not_kept_and_none_is_without_room() -> None:
    cache = PageCache(16 * kept().n_bytes)
    for large in (kept(b"0" * 11), kept(headers=[(b"a", b"")])):
        cache.put(b"large", large)
        assert cache.get(b"large") is None
    browser = Browser(Pages(), max_bytes=0)
    assert [browser.get()[2], browser.get()[2]] == ["/a 1", "/a 2"]


def test_what_a_query_says_that_no_route_reads_makes_no_other_answer_and_is_not_passed_on() -> None:
    browser = Browser(Pages())
    first = browser.get(query="token=cls")
    for query in ("a=1&token=cls", "token=cls&b", "token=cls&&%74=2"):
        assert browser.get(query=query) == first
    assert browser.get(query="%74oken=cls")[2] == "/a 2"
    assert browser.pages.queries == [b"token=cls", b"%74oken=cls"]


@pytest.mark.parametrize("name", ["host", "hx_target", "accept_encoding", "hx_request"])
def test_long_headers_grow_the_cache_no_further_than_its_budget(name: str) -> None:
    """Each of 300 requests has a header field of 60 KB of its own: 18 MB, against a budget of 1 MB."""
    browser = Browser(Pages())
    gc.collect()
    tracemalloc.start()
    try:
        for at in range(300):
            browser.get(**{name: f"{at}" + "x" * 60_000})
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < browser.max_bytes
