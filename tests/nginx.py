"""Runs Debian's nginx on loopback with a configuration of `deploy/`, for tests of what stands there."""

import functools
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
DEPLOY_DIR = PROJECT_DIR / "deploy"
_START_TRIES = 500  # of a hundredth of a second

_AROUND = """
{user}
pid nginx.pid;
daemon off;
worker_processes 1;
error_log error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
}}
"""


@functools.cache
def nginx_path() -> Path:
    """Path of a usable nginx. Raises RuntimeError saying how to get one; never a reason to skip."""
    found = subprocess.run([PROJECT_DIR / "scripts" / "nginx"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(found.stderr.strip())
    return Path(found.stdout.strip())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def root_config(folder: Path, port: int, upstreams: list[int]) -> str:
    """`deploy/nginx.conf` with ports of the test, and its log in the test's folder."""
    config = (DEPLOY_DIR / "nginx.conf").read_text()
    config = config.replace("listen 80;", f"listen 127.0.0.1:{port};")
    for written, real in zip((8000, 8001), upstreams, strict=True):
        config = config.replace(f"127.0.0.1:{written} ", f"127.0.0.1:{real} ")
    return config.replace("/var/log/nginx/scopeview.log", str(folder / "access.log"))


def subpath_config(port: int, upstream: int) -> str:
    """`deploy/nginx-subpath.conf` inside another host's server."""
    inside = (DEPLOY_DIR / "nginx-subpath.conf").read_text()
    inside = inside.replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    return f"server {{ listen 127.0.0.1:{port}; location / {{ return 404 'another site'; }}\n{inside} }}"


@contextmanager
def nginx(folder: Path, http: str) -> Iterator[None]:
    """Serves while the block runs. `http` is what stands in its `http { ... }`."""
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_AROUND.format(user=user, http=http))
    port = int(re.findall(r"listen 127\.0\.0\.1:(\d+)", http)[0])
    process = subprocess.Popen(
        [nginx_path(), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(_START_TRIES):
        if process.poll() is not None:
            raise RuntimeError(f"nginx did not start: {process.communicate()[1]}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("nginx takes too long to start")
