"""What is left of a refused body is read, so that whoever sends it sees the answer."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from app.uploads import request_body
from app.uploads.request_body import IncomingBody
from tests.app.sample_images import API, form, sample_image
from tests.loops import on_a_loop


class Sender:
    """So many chunks of a thousand bytes, then silence."""

    def __init__(self, n_chunks: int, *, ends: bool = True) -> None:
        self.left, self.ends, self.n_read = n_chunks, ends, 0

    async def receive(self) -> Message:
        if self.left == 0:
            await asyncio.Event().wait()
        self.left -= 1
        self.n_read += 1
        return {"type": "http.request", "body": bytes(1000), "more_body": self.left > 0 or not self.ends}


def discard(sender: Sender, *, max_bytes: int = 10**6, asks_first: bool = False, first: int = 0) -> int:
    """How many chunks were read in the end, `first` of them before."""

    async def run() -> int:
        body = IncomingBody(sender.receive, asks_first=asks_first)
        for _ in range(first):
            await body.receive()
        await body.discard(max_bytes)
        return sender.n_read

    return on_a_loop(run)


def test_the_rest_is_read_to_its_end_and_no_further() -> None:
    assert discard(Sender(5)) == 5
    assert discard(Sender(5), first=2) == 5
    assert discard(Sender(5), first=5) == 5


def test_more_than_is_accepted_is_not_read() -> None:
    assert discard(Sender(100), max_bytes=10_000) == 11


def test_whoever_asks_before_sending_need_not_send() -> None:
    assert discard(Sender(5), asks_first=True) == 0
    assert discard(Sender(5), asks_first=True, first=1) == 5


def test_a_sender_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "DISCARD_S", 0.01)
    assert discard(Sender(3, ends=False)) == 3


def test_a_sender_that_left_is_not_waited_for() -> None:
    async def left() -> Message:
        return {"type": "http.disconnect"}

    on_a_loop(lambda: IncomingBody(left).discard(100))


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Content-Type": "application/json"}, {}]
)
def test_refused_uploads_are_read_whole(site: TestClient, headers: dict[str, str]) -> None:
    sent = list[int]()

    def chunks() -> Iterator[bytes]:
        for number in range(40):
            sent.append(number)
            yield bytes(1000)

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.post(API, content=chunks(), headers={**kind, **headers})
    assert 400 <= answer.status_code < 500
    assert len(sent) == 40


async def _post(app: Any, body: list[bytes]) -> tuple[int, int]:
    """The status, and how many pieces of the body were read when it was sent."""
    pieces, n_read, statuses = iter(body), 0, list[int]()

    async def receive() -> Message:
        nonlocal n_read
        n_read += 1
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": n_read < len(body)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": API,
        "raw_path": API.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x"), (b"host", b"testserver")],
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "root_path": "",
    }
    await app(scope, receive, send)
    return statuses[0], n_read


def test_while_all_places_are_taken_a_body_is_read_and_then_refused(site: TestClient) -> None:
    worker = site.app.state.site.worker  # type: ignore[attr-defined]
    taken = [worker._places.acquire(blocking=False) for _ in range(worker._bound)]
    assert all(taken)
    assert site.portal is not None
    assert site.portal.call(_post, site.app, [bytes(1000)] * 7) == (503, 7)
    for _ in taken:
        worker._places.release()
    answer = site.post(API, files=form(sample_image()))
    assert answer.status_code == 201
    assert json.loads(answer.text)["codes"]
