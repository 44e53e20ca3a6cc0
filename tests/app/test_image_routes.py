"""Thumbnails, grids and static files: the right bytes, kept for just as long as they are right."""

import io

import numpy as np
import pytest
import zstandard
from PIL import Image
from starlette.testclient import TestClient

from tests.app.index import THUMB_PX

IMAGES = ["/tiny/thumbs/3.webp", "/tiny/grids/1/cls/0.webp", "/static/scopeview.css"]


@pytest.mark.parametrize("address", IMAGES)
def test_an_unchanged_image_is_not_sent_again(site: TestClient, address: str) -> None:
    first = site.get(address)
    again = site.get(address, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert site.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_icon_is_where_browsers_look_for_it_unasked(site: TestClient) -> None:
    icon = site.get("/favicon.ico")
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
    assert icon.content == site.get("/static/icon.svg").content
    assert site.head("/favicon.ico").status_code == 200


def test_only_a_url_with_the_version_is_kept_for_good(site: TestClient) -> None:
    versioned = site.get("/api/v1/tiny/images/3").json()["thumb_url"]
    assert "immutable" in site.get(versioned).headers["cache-control"]
    assert site.get("/tiny/thumbs/3.webp").headers["cache-control"] == "public, no-cache"
    assert site.get("/tiny/thumbs/3.webp?v=old").headers["cache-control"] == "public, no-cache"


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
    ],
)
def test_pages_are_compressed_as_the_browser_asks_and_images_never(
    site: TestClient, asked: str, given: str | None
) -> None:
    page = site.get("/tiny/1", headers={"Accept-Encoding": asked})
    assert page.headers.get("content-encoding") == given
    assert "accept-encoding" in page.headers["vary"].lower()
    # The client at hand leaves Zstandard as it came.
    text = unpacked(page.content) if given == "zstd" else page.content
    assert b"</html>" in text
    image = site.get("/tiny/grids/1/cls/0.webp", headers={"Accept-Encoding": asked})
    assert "content-encoding" not in image.headers


def unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def test_a_grid_shows_the_images_that_the_json_names_in_that_order(site: TestClient) -> None:
    answer = site.get("/api/v1/tiny/3/0?token=any").json()
    sprite = pixels(site.get(answer["grid_url"]).content)
    for at, top in enumerate(answer["top_images"][:9]):
        row, column = at // 3 * THUMB_PX, at % 3 * THUMB_PX
        cell = sprite[row : row + THUMB_PX, column : column + THUMB_PX]
        np.testing.assert_array_equal(cell, pixels(site.get(top["thumb_url"]).content))


def pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
