"""The load of uploads against a server by hand: what is counted, and that clients come back when told to."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bench import uploads_load
from bench.servers import RunningServer
from bench.uploads_client import shares
from scopeview.store.reader import IndexReader
from tests.app.index import write_index


class Site(BaseHTTPRequestHandler):
    """Refuses every third POST; one of those it takes has no page afterwards."""

    protocol_version = "HTTP/1.1"  # connections stay open, as with a real server
    n_posts = 0
    pages: ClassVar[set[str]] = set()
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert b'name="image"' in body
        with Site.lock:
            Site.n_posts += 1
            number = Site.n_posts
        if number % 3 == 0:
            self._answer(503, {"Retry-After": "0"})
        else:
            self._answer(303, {"Location": f"/tiny/uploads/{number}"})

    def do_GET(self) -> None:
        self._answer(404 if self.path == "/tiny/uploads/1" else 200)
        Site.pages.add(self.path)

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class Listener(ThreadingHTTPServer):
    request_queue_size = 64  # twenty clients knock at once


@pytest.fixture
def server() -> Iterator[RunningServer]:
    Site.n_posts, Site.pages = 0, set()
    with Listener(("127.0.0.1", 0), Site) as site:
        thread = threading.Thread(target=site.serve_forever, daemon=True)
        thread.start()
        yield RunningServer(f"http://127.0.0.1:{site.server_port}", os.getpid(), 0.0)
        site.shutdown()
        thread.join()


def test_every_answer_is_counted_and_what_is_missing_afterwards_is_lost(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_load, "SETTLED", 5)
    monkeypatch.setattr(uploads_load, "BROWSED_S", 0)
    index_dir = write_index(tmp_path / "tiny").index_dir
    with IndexReader(index_dir) as reader:
        found = uploads_load.load(server, reader, [bytes(50)] * 20)
    assert found.statuses == {"303": 20, "503": 9}
    assert (found.n_uploads, found.lost, found.without_retry_after) == (20, 1, 0)
    assert found.settled_gb > 0
    assert found.n_pages > 0
    assert any(path.startswith("/tiny/images/") for path in Site.pages)
    names = {budget.name: budget.is_met for budget in found.budgets()}
    assert names["uploads lost"] is False


def test_images_are_dealt_out() -> None:
    assert shares([b"a", b"b", b"c"], 2) == [[b"a", b"c"], [b"b"]]
