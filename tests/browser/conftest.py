"""A real Chromium against a real server on a loopback port; whatever goes wrong in a page fails its test."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from app.main import create_app
from app.settings import Settings
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import write_index
from tests.app.tower import FakeTower, tower_factory
from tests.chromium import chromium_path

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DROPPED = ("htmx:sendAbort", "htmx:afterRequest")
"""So htmx logs a request that a navigation, or the end of a test, drops; one that fails has a status."""
START_S = 30.0
N_SCENES = 120


@dataclass
class Watched:
    """A page and what went wrong in it."""

    page: Page
    base: str
    problems: list[str] = field(default_factory=list)
    expected_statuses: set[int] = field(default_factory=set)  # errors that the test asks for

    def goto(self, path: str) -> Page:
        self.page.goto(self.base + path, wait_until="networkidle")
        return self.page

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._asked)
        self.page.on("response", self._answered)

    def _console(self, message: ConsoleMessage) -> None:
        if message.text.startswith(DROPPED):
            return
        is_status = "Failed to load resource" in message.text or "Response Status Error" in message.text
        if message.type in ("error", "warning") and not (is_status and self.expected_statuses):
            self.problems.append(f"console {message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a navigation drops what it no longer needs
            self.problems.append(f"failed: {request.url} {request.failure}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base, "blob:", "data:")):
            self.problems.append(f"another host: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected_statuses:
            self.problems.append(f"{response.status}: {response.url}")


OpenPage = Callable[..., Watched]


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The base URL of the app, on a free port of loopback, until the block ends."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=3)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    give_up_s = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < give_up_s, "the server takes too long to start"
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_S)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The hand-written index with its hostile captions, and a stand-in for the encoder."""
    folder = tmp_path_factory.mktemp("tiny-site")
    dirs = [
        write_index(folder / "tiny").index_dir,
        write_index(folder / "raw", slug="raw", random_weights=True).index_dir,
    ]
    settings = Settings(index_dirs=dirs, upload_dir=folder / "uploads")
    encoder, tower = factory_of(FakeEncoder()), tower_factory(FakeTower())
    with served(create_app(settings, encoder_factory=encoder, text_factory=tower)) as base:
        yield base


@pytest.fixture(scope="session")
def demo_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as `make demo` builds it, of fewer scenes."""
    from indexer.demo.build import build_demo  # brings torch, which the other journeys do without

    return build_demo(tmp_path_factory.mktemp("demo"), n_images=N_SCENES)


@pytest.fixture(scope="session")
def demo_site(demo_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(index_dirs=[demo_index], upload_dir=tmp_path_factory.mktemp("demo-uploads"))
    with served(create_app(settings)) as base:
        yield base


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Makes watched pages in contexts of their own; at the end of the test none may have had a problem."""
    opened = list[Watched]()

    def open_one(base: str, *, expect: set[int] | None = None, **context: Any) -> Watched:
        options = {"viewport": {"width": 1280, "height": 900}, **context}
        watched = Watched(browser.new_context(**options).new_page(), base, expected_statuses=expect or set())
        watched.watch()
        opened.append(watched)
        return watched

    yield open_one
    for watched in opened:
        watched.page.context.close()
    assert [problem for watched in opened for problem in watched.problems] == []
