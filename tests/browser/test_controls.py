"""Every control of every page of the tour, with scripts on: by mouse, keys and touch, on desktop and phone.

A press must lead where the control says, swap in what the server has at that address, or do what `walker`
says of it; a control that nobody has said anything of fails. There is one `main` and one header after each,
and no ring larger than what it is around.
"""

import io
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from PIL import Image

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import decoded_here
from tests.app.described_index import write_described_index
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import write_index
from tests.app.tower import FakeTower, tower_factory
from tests.browser.conftest import OpenPage, served
from tests.browser.tour import NOT_THERE, Place, tour, unvisited
from tests.browser.walker import CONTROLS_JS, Walker

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
HANDS = {"mouse": DESKTOP, "keys": DESKTOP, "touch": PHONE}
CLIPBOARD = ["clipboard-read", "clipboard-write"]
NAMES = tour(Place("told", 3, 2, "/told/uploads/x"))


@pytest.fixture(scope="module")
def told_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A described index, and another beside it."""
    folder = tmp_path_factory.mktemp("controls")
    dirs = [write_described_index(folder / "told").index_dir, write_index(folder / "tiny").index_dir]
    settings = Settings(index_dirs=dirs, upload_dir=folder / "uploads", uploads_per_minute=0)
    app = create_app(
        settings,
        encoder_factory=factory_of(FakeEncoder()),
        text_factory=tower_factory(FakeTower()),
        decoder=decoded_here,
    )
    assert unvisited(app, NAMES) == set(), "the tour leaves pages out"
    with served(app) as base:
        yield base


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Addresses that were found to answer."""
    return set()


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Kinds of controls that were used, by the hand that did."""
    return {hand: set() for hand in HANDS}


def sample_image() -> Any:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (10, 160, 90)).save(buffer, "PNG")
    return {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


MIN_CONTROLS = {"feature-embedded": 2, "api": 7, "glossary": 7}
"""Kinds of controls on the pages that have fewest; every other page has at least eight."""


@pytest.mark.slow
@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_control_does_what_it_says(
    told_site: str, open_page: OpenPage, seen: set[str], known: dict[str, set[str]], name: str, hand: str
) -> None:
    expected = {404, 422} if name in NOT_THERE else None
    page = open_page(told_site, expect=expected, permissions=CLIPBOARD, **HANDS[hand]).page
    page.add_init_script(CONTROLS_JS)
    upload = ""
    if name.startswith("upload-"):
        sent = page.request.post(
            f"{told_site}/told/uploads", multipart={"image": sample_image()}, headers={"Accept": "text/html"}
        )
        upload = sent.url.removeprefix(told_site)
    walker = Walker(
        page, told_site + tour(Place("told", 3, 2, upload))[name], hand, sample_image(), known[hand]
    )
    walker.use_all()
    walker.check()
    assert len(walker.used) >= MIN_CONTROLS.get(name, 8)
    for url in walker.led_to - seen:
        assert_answers(url, told_site)
    seen |= walker.led_to


class Landmarks(HTMLParser):
    """How many there are of what a page has one of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.n_main = self.n_headers = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.n_main += tag == "main"
        self.n_headers += tag == "header" and ("class", "top") in attrs


def assert_answers(url: str, base: str) -> None:
    """Without an error, and with one page."""
    if not url.startswith(base) or "/uploads/" in url:  # an upload is its sender's, and may be deleted by now
        return
    with urllib.request.urlopen(url) as answer:
        if answer.headers.get_content_type() != "text/html":
            return
        found = Landmarks(answer.read().decode())
    assert (found.n_main, found.n_headers) in ((1, 1), (1, 0)), url
    assert found.n_headers or "embed=1" in url, url
