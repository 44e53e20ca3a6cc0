"""A server as a child process, kept to one core, from its start to its end."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import pin, resident_gb

SERVER_CORE = 0
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers."""

    base_url: str
    pid: int
    start_s: float  # from the start of the process to the first good answer

    @property
    def resident_gb(self) -> float:
        return resident_gb(self.pid)


@contextmanager
def serving(
    command: Sequence[str],
    ready: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    cores: Collection[int] = (SERVER_CORE,),
) -> Iterator[RunningServer]:
    """Runs `command` with `--port` added; `ready` is the path that answers 200 once it serves."""
    port = _free_port()
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            preexec_fn=lambda: pin(cores),
        )
        try:
            base_url = f"http://127.0.0.1:{port}"
            _wait(process, base_url + ready, log)
            yield RunningServer(base_url, process.pid, time.monotonic() - started)
        finally:
            process.terminate()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Waits until the server answers. Raises `SystemExit` if it ends, or does not answer."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.01)
    raise SystemExit(f"{url} never answered: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
