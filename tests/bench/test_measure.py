"""Figures of benchmarks: percentiles, bounds, and loads against a server of this test's own."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.load import at_rate, flat_out
from bench.measure import Budget, percentiles
from tests.loops import on_a_loop


class Answers(BaseHTTPRequestHandler):
    """Says the path back; `/missing` is not there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles([0.001] * 99 + [1.0]) == pytest.approx((1.0, 10.99, 1000.0), rel=1e-3)


@pytest.mark.parametrize(
    ("value", "at_least", "is_met"),
    [(1.0, False, True), (2.0, False, True), (3.0, False, False), (3.0, True, True), (1.0, True, False)],
)
def test_a_bound_is_met_on_its_own_side(value: float, at_least: bool, is_met: bool) -> None:
    budget = Budget("time", value, 2.0, "s", at_least)
    assert budget.is_met == is_met
    assert ("MISSED" in budget.cells().value) != is_met


def test_a_load_asks_for_each_path_once(base_url: str) -> None:
    paths = [f"/{i}" for i in range(10)]
    for load in (at_rate(base_url, paths, per_s=500), flat_out(base_url, paths, at_once=3)):
        assert len(load.seconds) == 10
        assert min(load.seconds) > 0
        assert load.n_bytes == sum(map(len, paths))
        assert load.per_s > 0


def test_a_load_can_be_asked_for_where_an_event_loop_is_running(base_url: str) -> None:
    async def from_a_notebook() -> int:
        return flat_out(base_url, ["/a"], at_once=1).n_bytes

    assert on_a_loop(from_a_notebook) == 2


def test_an_answer_that_is_no_page_ends_the_load(base_url: str) -> None:
    with pytest.raises(RuntimeError, match="/missing answers 404"):
        flat_out(base_url, ["/", "/missing"], at_once=1)
