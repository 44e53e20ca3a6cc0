"""The configurations of `deploy/`, run by nginx as they stand but for ports and paths."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import SmallIndex, write_index
from tests.app.sample_images import BROWSER, form, sample_image
from tests.browser.conftest import served
from tests.nginx import free_port, nginx, root_config


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_index(tmp_path_factory.mktemp("deploy") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def site(index: SmallIndex, folder: Path) -> Iterator[httpx.Client]:
    settings = Settings(index_dirs=[index.index_dir], upload_dir=folder / "uploads", uploads_per_minute=2)
    app = create_app(settings, encoder_factory=factory_of(FakeEncoder()))
    port = free_port()
    with (
        served(app) as upstream,
        nginx(folder, root_config(folder, port, [int(upstream.rsplit(":", 1)[1]), free_port()])),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


def test_pages_are_served_through_nginx_with_the_address_that_was_asked_for(site: httpx.Client) -> None:
    page = site.get("/tiny", headers=BROWSER)
    assert page.status_code == 200
    assert f'property="og:url" content="{site.base_url}/tiny"' in page.text


@pytest.mark.usefixtures("upload_clock")  # a minute that ends meanwhile would let one more through
def test_visitors_cannot_choose_the_address_they_are_counted_by(site: httpx.Client) -> None:
    statuses = [
        site.post(
            "/tiny/uploads", files=form(sample_image()), headers={"X-Forwarded-For": f"203.0.113.{number}"}
        ).status_code
        for number in range(3)
    ]
    assert statuses == [201, 201, 429]


def test_the_log_of_nginx_has_no_upload_ids_and_no_delete_keys(site: httpx.Client, folder: Path) -> None:
    sent = site.post("/tiny/uploads", files=form(sample_image())).json()
    site.get(f"/tiny/uploads/{sent['upload_id']}/delete", params={"key": sent["delete_key"]})
    site.get("/healthz")  # nginx writes a request's line before it reads the next one of the same connection
    log = (folder / "access.log").read_text()
    assert '"GET /tiny/uploads/-" 200' in log
    assert sent["upload_id"] not in log
    assert sent["delete_key"] not in log


def test_nginx_sends_a_file_that_is_too_large_away(site: httpx.Client) -> None:
    answer = site.post("/tiny/uploads", content=bytes(12 * 1024**2))
    assert answer.status_code == 413
