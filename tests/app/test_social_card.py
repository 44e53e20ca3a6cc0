"""Previews: what other sites show of a link holds no image that is unsafe or blocked."""

import asyncio
import io
import re
import threading
from functools import partial
from html import unescape
from pathlib import Path

import pytest
from PIL import Image, ImageFont
from starlette.testclient import TestClient

from app.engine import preview_cache
from app.engine.preview_cache import Previews, TooManyPreviewsError
from app.services.social_card.render import FONT, Line, draw_feature, drawable, grid, wrapped
from app.services.social_card.select import safe_nine
from app.state import AppState, OpenIndex
from tests.app.conftest import StartSite
from tests.app.index import FEW_IMAGES, NEVER_FIRES, UNSAFE_IMAGE
from tests.loops import on_a_loop

IMAGE = Image.new("RGB", (48, 48), (200, 30, 30))


def meta(html: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:property|name)="((?:og|twitter):[^"]+)" content="([^"]*)">', html)
    return {name: unescape(content) for name, content in found}


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size) == ("PNG", (1200, 630))
    return image.convert("RGB")


def index_of(site: TestClient) -> OpenIndex:
    state: AppState = site.app.state.site  # type: ignore[attr-defined]
    return state.indexes["tiny"]


@pytest.mark.parametrize("address", ["/tiny/1/0", "/tiny/3/1?token=any", f"/tiny/1/{NEVER_FIRES}", "/tiny"])
def test_a_page_names_its_image_in_full_and_it_is_there(site: TestClient, address: str) -> None:
    tags = meta(site.get(address).text)
    assert tags["twitter:card"] == "summary_large_image"
    assert tags["og:url"].startswith("http://testserver/tiny")
    assert tags["og:title"]
    answer = site.get(tags["og:image"].removeprefix("http://testserver"))
    assert answer.headers["content-type"] == "image/png"
    assert "immutable" in answer.headers["cache-control"]
    opened(answer.content)


def test_the_operators_base_url_is_used(start_site: StartSite) -> None:
    site = start_site(base_url="https://scope.example")
    assert meta(site.get("/tiny/1/0").text)["og:image"].startswith("https://scope.example/tiny/1/0/og.png?")


def test_a_feature_is_told_in_words(site: TestClient) -> None:
    tags = meta(site.get("/tiny/1/0?token=any").text)
    assert tags["og:title"].startswith("L1 · 0")
    assert re.fullmatch(r"Fires on [0-9]+ of 64 images \([0-9.]+ %\) at any\.", tags["og:description"])


def test_an_unsafe_image_is_replaced_by_the_next_safe_one(site: TestClient) -> None:
    index = index_of(site)
    found = 0
    for feature in range(96):
        record = index.reader.feature(1, feature, "any")
        tops = [top.image_id for top in record.top_images]
        nine = safe_nine(index, record)
        assert nine == [at for at in tops if at != UNSAFE_IMAGE][:9]
        found += UNSAFE_IMAGE in tops[:9]
    assert found
    assert UNSAFE_IMAGE not in safe_nine(index, index.reader.feature(1, FEW_IMAGES))


def test_a_blocked_image_is_replaced_and_the_address_changes(start_site: StartSite, tmp_path: Path) -> None:
    blocklist = tmp_path / "blocked.txt"
    blocklist.write_text("")
    site = start_site(blocklist=blocklist)
    index = index_of(site)
    record = index.reader.feature(1, 0)
    before = meta(site.get("/tiny/1/0").text)["og:image"]
    drawn = site.get("/tiny/1/0/og.png").content
    first = safe_nine(index, record)[0]
    blocklist.write_text(f"{first:064x}\n")
    assert first not in safe_nine(index, record)
    assert meta(site.get("/tiny/1/0").text)["og:image"] != before
    assert site.get("/tiny/1/0/og.png").content != drawn


def test_the_grid_shows_what_it_is_given_by_rank_and_empty_cells_after() -> None:
    sprite = grid([IMAGE, None], 308)
    assert sprite.getpixel((50, 50)) == (200, 30, 30)
    assert sprite.getpixel((150, 50)) == sprite.getpixel((250, 250)) == (233, 233, 236)
    assert sprite.getpixel((101, 50)) == (255, 255, 255)


def test_long_and_odd_words_fit_on_it() -> None:
    words = ["a" * 500, "long " * 500, "🦊 مرحبا \x07 中文", ""]
    opened(draw_feature([IMAGE] * 9, [Line(word, 44) for word in words], "foot " * 99))


def test_words_are_broken_between_words_and_cut_at_the_end() -> None:
    font = ImageFont.truetype(str(FONT), 20)
    lines = wrapped("one two three four five six seven eight nine ten", font, 160, most=2)
    assert len(lines) == 2
    assert lines[0] == "one two three"
    assert lines[1].endswith("…")
    assert all(font.getlength(line) <= 160 for line in lines)


def test_letters_that_the_font_lacks_are_left_out() -> None:
    assert drawable("a 🦊 fox – é × \x07中") == "a fox – é ×"


def test_what_was_drawn_lately_is_kept() -> None:
    previews, drawn = Previews(max_previews=2), list[int]()

    def draw(key: int) -> bytes:
        drawn.append(key)
        return bytes([key])

    async def ask() -> None:
        for key in (1, 2, 1, 3, 1, 2):
            assert await previews.get(key, partial(draw, key)) == bytes([key])

    on_a_loop(ask)
    previews.close()
    assert drawn == [1, 2, 3, 2]


def test_previews_are_drawn_one_at_a_time_and_once_for_all_who_ask_for_the_same() -> None:
    previews, drawn, at_once = Previews(), list[int](), list[int]()

    def draw(key: int) -> bytes:
        at_once.append(key)
        assert len(at_once) == 1
        drawn.append(at_once.pop())
        return bytes([key])

    async def ask() -> None:
        found = await asyncio.gather(*(previews.get(at % 3, partial(draw, at % 3)) for at in range(30)))
        assert found == [bytes([at % 3]) for at in range(30)]

    on_a_loop(ask)
    previews.close()
    assert drawn == [0, 1, 2]


def test_too_many_who_wait_for_a_preview_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_cache, "MAX_WAITING", 2)
    previews, gate = Previews(), threading.Event()

    def draw() -> bytes:
        assert gate.wait(30)
        return b"drawn"

    async def ask() -> None:
        waiting = [asyncio.create_task(previews.get(key, draw)) for key in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(TooManyPreviewsError) as caught:
            await previews.get("c", draw)
        assert (caught.value.answer.status, caught.value.answer.headers["Retry-After"]) == (503, "10")
        gate.set()
        assert await asyncio.gather(*waiting) == [b"drawn"] * 2
        assert await previews.get("c", draw) == b"drawn"

    on_a_loop(ask)
    previews.close()


def test_a_preview_of_nothing_is_a_404(site: TestClient) -> None:
    for address in ("/tiny/1/96/og.png", "/tiny/2/0/og.png", "/nothing/og.png"):
        assert site.get(address).status_code == 404
