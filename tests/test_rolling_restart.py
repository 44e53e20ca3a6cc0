"""A restart as docs/serving.md describes it, behind the nginx of `deploy/`: no request of a visitor fails."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.app.index import SmallIndex, write_index
from tests.conftest import PROJECT_DIR
from tests.nginx import free_port, nginx, root_config

PAGES = ("/tiny", "/tiny/1?token=cls", "/api/v1/indexes", "/tiny/thumbs/1.webp", "/tiny/images/2")
AT_LEAST = 60
"""Requests that must have been answered while servers came and went."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_index(tmp_path_factory.mktemp("rolling") / "tiny")


@contextmanager
def server(index: SmallIndex, uploads: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`scopeview serve`, ready to answer."""
    command = [sys.executable, "-m", "scopeview", "serve", str(index.index_dir)]
    with subprocess.Popen(
        [*command, "--port", str(port), "--uploads", str(uploads)],
        cwd=PROJECT_DIR,
        env={**os.environ, "SCOPEVIEW_ENCODER_DEVICE": "off"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on" in line:
                break
        reading = threading.Thread(target=process.stderr.read, daemon=True)
        reading.start()  # a full pipe would stop the server
        try:
            yield process
        finally:
            process.kill()


class Visitors:
    """Ask for pages without a pause, each on a connection that is kept open, and keep what they are told."""

    def __init__(self, base_url: str, n: int = 3) -> None:
        self._base_url, self._end = base_url, threading.Event()
        self.statuses: list[int | str] = []
        self._threads = [threading.Thread(target=self._visit, args=(at,)) for at in range(n)]

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, n: int) -> None:
        while len(self.statuses) < n and not self._end.wait(0.02):
            pass

    def _visit(self, first: int) -> None:
        with httpx.Client(base_url=self._base_url, timeout=60) as client:
            at = first
            while not self._end.is_set():
                try:
                    self.statuses.append(client.get(PAGES[at % len(PAGES)]).status_code)
                except httpx.HTTPError as error:
                    self.statuses.append(repr(error))
                at += 1


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.slow
def test_a_rolling_restart_drops_nothing(index: SmallIndex, tmp_path: Path) -> None:
    ports = (free_port(), free_port(), free_port())
    config = root_config(tmp_path, ports[0], [ports[1], ports[2]])
    uploads = tmp_path / "uploads"
    with (
        server(index, uploads, ports[1]) as old,
        nginx(tmp_path, config),
        Visitors(f"http://127.0.0.1:{ports[0]}") as visitors,
    ):
        visitors.wait_for(AT_LEAST)
        with server(index, uploads, ports[2]) as between:
            stop(old)
            visitors.wait_for(2 * AT_LEAST)
            with server(index, uploads, ports[1]) as new:
                stop(between)
                visitors.wait_for(3 * AT_LEAST)
                assert new.poll() is None
                served = list(visitors.statuses)
    assert len(served) >= 3 * AT_LEAST
    assert set(served) == {200}
