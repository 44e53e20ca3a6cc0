"""A browser at a site that nginx serves below a path of its host: nothing is ever asked for beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.main import create_app
from app.settings import Settings
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import write_index
from tests.app.sample_images import sample_image
from tests.app.tower import FakeTower, tower_factory
from tests.browser.conftest import OpenPage, served
from tests.nginx import free_port, nginx, subpath_config


@pytest.fixture(scope="module")
def site_below_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    base_url = f"http://127.0.0.1:{port}/scope"
    index_dir = write_index(folder / "tiny").index_dir
    settings = Settings(index_dirs=[index_dir], upload_dir=folder / "uploads", base_url=base_url)
    encoder, tower = factory_of(FakeEncoder()), tower_factory(FakeTower())
    with (
        served(create_app(settings, encoder_factory=encoder, text_factory=tower)) as upstream,
        nginx(folder, subpath_config(port, int(upstream.rsplit(":", 1)[1]))),
    ):
        yield base_url


@pytest.mark.parametrize(
    "path", ["/", "/tiny", "/tiny/1?token=cls", "/tiny/1/map?token=cls", "/tiny/images/3"]
)
def test_pages_bring_their_styles_scripts_and_images_from_below_the_path(
    open_page: OpenPage, site_below_path: str, path: str
) -> None:
    page = open_page(site_below_path).goto(path)
    assert page.locator("main").count() == 1
    assert page.evaluate("typeof htmx") == "object"
    assert page.evaluate("[...document.images].every(image => !image.complete || image.naturalWidth > 0)")


def test_links_are_followed_from_the_home_page_to_a_feature(
    open_page: OpenPage, site_below_path: str
) -> None:
    page = open_page(site_below_path).goto("/")
    page.get_by_role("link", name="tiny").first.click()
    page.get_by_role("navigation", name="Layer").get_by_role("link").first.click()
    page.get_by_role("link", name="random").click()
    page.wait_for_url(f"{site_below_path}/tiny/**")
    assert page.locator("main").count() == 1


def test_an_upload_leads_to_its_own_page(open_page: OpenPage, site_below_path: str, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(sample_image())
    page = open_page(site_below_path).goto("/tiny/uploads")
    page.locator("#image").set_input_files(file)
    page.get_by_role("button", name="Analyze image").click()
    page.wait_for_url(f"{site_below_path}/tiny/uploads/*")
    assert page.locator("main").count() == 1


def test_an_image_that_nginx_finds_too_large_is_told_in_words(
    open_page: OpenPage, site_below_path: str
) -> None:
    page = open_page(site_below_path, expect={413}).goto("/tiny/uploads")
    big: Any = {"name": "a.png", "mimeType": "image/png", "buffer": bytes(14 * 1024**2)}
    page.set_input_files("#image", big)
    page.get_by_role("button", name="Analyze image").click()
    expect(page.get_by_text("too large for this server")).to_be_visible(timeout=15_000)
