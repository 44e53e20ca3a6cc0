"""A server that is told to end does so within its time, whatever its visitors are doing."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.index import SmallIndex
from tests.app.sample_images import API

ROOT = Path(__file__).resolve().parents[2]
HUNG_S = 100
"""Nobody waits longer; the server's own limits are set to hours."""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
        return number


@pytest.fixture
def server(small_index: SmallIndex, tmp_path: Path, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`scopeview serve` of the small index, ready."""
    limits = {
        "SCOPEVIEW_SHUTDOWN_S": "4",
        "SCOPEVIEW_UPLOAD_READ_S": "36000",
        "SCOPEVIEW_UPLOAD_DEADLINE_S": "36000",
    }
    command = [sys.executable, "-m", "scopeview", "serve", str(small_index.index_dir)]
    options = ["--port", str(port), "--uploads", str(tmp_path / "uploads")]
    with subprocess.Popen(
        [*command, *options], cwd=ROOT, env={**os.environ, **limits}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "running on" in line:
                break
        yield process
        process.kill()


def test_an_upload_that_never_ends_does_not_keep_a_server_from_ending(
    server: "subprocess.Popen[str]", port: int
) -> None:
    head = (
        f"POST {API} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=HUNG_S) as connection:
        connection.sendall(head.encode())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=HUNG_S) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        server.wait(HUNG_S)


def test_a_server_that_was_told_to_end_writes_nothing_but_its_own_lines(
    server: "subprocess.Popen[str]", port: int
) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/tiny", timeout=HUNG_S) as page:
        assert page.status == 200
    server.send_signal(signal.SIGTERM)
    _, told = server.communicate(timeout=HUNG_S)
    assert server.returncode == 0
    lines = told.splitlines()
    assert [line for line in lines if not line.startswith("INFO ")] == []
    assert "Finished server process" in lines[-1]
