"""What uvicorn takes of a request that is no body, over real connections: bounded in bytes and in time.

`BoundedHttpProtocol` builds on a class that uvicorn does not document: where one of these fails after an
upgrade, it is that class which changed.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.web import http_protocol
from app.web.http_protocol import MAX_HEAD_BYTES, BoundedHttpProtocol


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes\n")(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(echo, port=0, http=BoundedHttpProtocol, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(20)


def conversation(port: int, *pieces: bytes) -> bytes:
    """All that comes back until the server closes. What it no longer takes is not sent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        with suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    return answer


def head(n_bytes: int, method: str = "GET", more: str = "") -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: a\r\n{more}X: {'x' * n_bytes}\r\n".encode()


END = b"Connection: close\r\n\r\n"


def test_a_head_below_the_bound_is_answered(port: int) -> None:
    assert conversation(port, head(60_000), END).endswith(b"0 bytes\n")


def test_a_head_above_the_bound_is_answered_431(port: int) -> None:
    answer = conversation(port, head(MAX_HEAD_BYTES), END)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"at most 65,536 bytes are accepted" in answer


def test_many_fields_and_a_long_address_count_too(port: int) -> None:
    many = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(
        b"X-%d: %s\r\n" % (at, b"x" * 100) for at in range(700)
    )
    assert conversation(port, many, END).startswith(b"HTTP/1.1 431 ")
    address = b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: a\r\n"
    assert conversation(port, address, END).startswith(b"HTTP/1.1 431 ")


def test_a_head_that_does_not_end_is_refused_at_the_bound_and_not_read_to_its_end(port: int) -> None:
    pieces = [head(0, more="Y: "), *[b"y" * 64 * 1024] * 320]  # 20 MB
    assert conversation(port, *pieces)[:13] in (b"HTTP/1.1 431 ", b"")  # the answer may be lost on the way


def test_other_visitors_do_not_wait_for_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as attacker:
        attacker.sendall(head(0, more="Y: "))
        with suppress(ConnectionError):
            for _ in range(320):
                attacker.sendall(b"y" * 64 * 1024)
        assert conversation(port, head(10), END).endswith(b"0 bytes\n")


def test_a_body_has_no_such_bound(port: int) -> None:
    body = b"x" * 3_000_000
    length = f"Content-Length: {len(body)}\r\n"
    assert conversation(port, head(10, "POST", length), END, body).endswith(b"3000000 bytes\n")
    chunked = b"".join(b"%x\r\n%s\r\n" % (60_000, b"x" * 60_000) for _ in range(50)) + b"0\r\n\r\n"
    coding = "Transfer-Encoding: chunked\r\n"
    assert conversation(port, head(10, "POST", coding), END, chunked).endswith(b"3000000 bytes\n")


def test_trailers_count_as_a_head_does(port: int) -> None:
    coding = "Transfer-Encoding: chunked\r\n"
    begin = [head(10, "POST", coding), END, b"1\r\nx\r\n0\r\n"]
    assert conversation(port, *begin, b"A: b\r\n\r\n").endswith(b"1 bytes\n")
    pieces = [*begin, b"A: ", *[b"y" * 64 * 1024] * 320]
    assert b" 200 " not in conversation(port, *pieces)


def test_requests_on_one_connection_are_counted_one_by_one(port: int) -> None:
    pieces = [head(50_000) + b"\r\n"] * 3 + [head(50_000), END]
    assert conversation(port, *pieces).count(b"0 bytes\n") == 4


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHo"])
def test_a_head_that_does_not_end_in_time_is_cut_off(
    port: int, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    assert conversation(port, begin) == b""


def test_a_body_that_comes_late_is_not_cut_off_by_the_bound_on_heads(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head(10, "POST", "Content-Length: 2\r\n") + END)
        threading.Event().wait(0.2)
        connection.sendall(b"ok")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
