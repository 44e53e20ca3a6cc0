"""A site below a path of its host: every link, script, image and redirect stays below it."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings, read_settings
from scopeview.errors import InputError
from tests.app.conftest import StartSite
from tests.app.encoder import FakeEncoder, factory_of
from tests.app.index import SmallIndex
from tests.app.sample_images import BROWSER, form, sample_image

BASE_URL = "http://host.example/scope"
_ADDRESS = re.compile(r'(?:href|src|action|formaction|content|data-[a-z-]*url|hx-(?:get|post))="([^"]*)"')


def addresses(html: str) -> Iterator[str]:
    """Those that a page has in attributes, but for places on the same page."""
    for address in map(unescape, _ADDRESS.findall(html)):
        if address.startswith(("/", "http")):
            yield address


def outside(html: str, base_url: str) -> list[str]:
    """Addresses that leave the site."""
    whole = (urljoin(base_url, address) for address in addresses(html))
    host = urlsplit(base_url).netloc
    return [url for url in whole if urlsplit(url).netloc == host and not url.startswith(f"{base_url}/")]


def walk(client: TestClient, first: str, prefix: str, *, strip: bool) -> set[str]:
    """Follows one link of each kind from page to page, as a browser behind a proxy does; what it asks for."""
    todo, seen, kinds = [first], set[str](), set[str]()
    while todo:
        address = urlsplit(todo.pop(0))
        kind = re.sub(r"[0-9]+", "N", address.path)
        if kind in kinds or kind.endswith("/heat"):  # a script puts images into its query
            continue
        kinds.add(kind)
        seen.add(address.path)
        assert address.path.startswith(f"{prefix}/"), address
        answer = client.get(address.path.removeprefix(prefix) if strip else address.path, headers=BROWSER)
        assert answer.status_code in (200, 302, 303, 307), (address, answer.text)
        if "location" in answer.headers:
            todo.append(answer.headers["location"])
        elif answer.headers["content-type"].startswith("text/html"):
            assert not outside(answer.text, BASE_URL), address
            todo += [url for url in addresses(answer.text) if urlsplit(url).netloc in ("", "host.example")]
    return seen


@pytest.mark.parametrize("strip", [True, False], ids=["stripped by the proxy", "passed on whole"])
def test_every_link_of_a_site_below_a_path_leads_somewhere_below_it(
    start_site: StartSite, strip: bool
) -> None:
    site = start_site(base_url=BASE_URL)
    seen = walk(site, "/scope/", "/scope", strip=strip)
    kinds = ("/scope/static/scopeview.css", "/scope/tiny/thumbs/", "/scope/tiny/grids/", "/scope/api/v1/tiny")
    for kind in kinds:
        assert any(path.startswith(kind) for path in seen), kind


def test_an_upload_its_cookie_and_its_removal_stay_below_the_path(start_site: StartSite) -> None:
    site = start_site(base_url=BASE_URL)
    answer = site.post("/tiny/uploads", files=form(sample_image()), headers=BROWSER)
    url = answer.headers["location"]
    assert url.startswith("/scope/tiny/uploads/")
    assert f"Path={url}" in answer.headers["set-cookie"]
    page = site.get(url, headers=BROWSER)
    assert page.status_code == 200
    assert not outside(page.text, BASE_URL)
    removed = site.post(f"{url}/delete", headers=BROWSER)
    assert removed.headers["location"] == url


def test_json_links_carry_the_whole_base_url(start_site: StartSite) -> None:
    site = start_site(base_url=BASE_URL)
    assert site.get("/api/v1/indexes").json()["indexes"][0]["url"].startswith(f"{BASE_URL}/tiny")
    document = site.get("/api/v1/openapi.json").json()
    assert document["servers"] == [{"url": "/scope"}]


def test_problem_pages_below_a_path_lead_back_to_it(start_site: StartSite) -> None:
    page = start_site(base_url=BASE_URL).get("/tiny/99", headers=BROWSER)
    assert page.status_code == 404
    assert 'href="/scope/tiny"' in page.text


def test_a_failure_that_nothing_expected_is_answered_below_the_path(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    site = start_site(base_url=BASE_URL)
    monkeypatch.setattr("app.pages.home.frame_for", broken)
    page = site.get("/tiny", headers=BROWSER)
    assert page.status_code == 500
    assert not outside(page.text, BASE_URL)


def test_a_root_path_alone_is_put_before_pages_and_json(start_site: StartSite) -> None:
    site = start_site(root_path="/scope/")
    assert 'href="/scope/tiny"' in site.get("/", headers=BROWSER).text
    assert site.get("/api/v1/indexes").json()["indexes"][0]["url"] == "/scope/tiny"


def test_a_site_mounted_in_another_app_links_below_its_mount(
    small_index: SmallIndex, upload_dir: Path
) -> None:
    settings = Settings(index_dirs=[small_index.index_dir], upload_dir=upload_dir)
    app = create_app(settings, encoder_factory=factory_of(FakeEncoder()))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    outer = Starlette(routes=[Mount("/lab/scope", app)], lifespan=lifespan)
    with TestClient(outer, base_url="http://host.example") as client:
        page = client.get("/lab/scope/tiny", headers=BROWSER)
        assert page.status_code == 200
        assert not outside(page.text, "http://host.example/lab/scope")
        assert client.get("/lab/scope/api/v1/indexes").json()["indexes"][0]["url"] == "/lab/scope/tiny"


def test_an_index_of_the_same_name_as_the_path_is_served_when_the_proxy_strips(start_site: StartSite) -> None:
    site = start_site(base_url="http://host.example/tiny")
    page = site.get("/tiny", headers=BROWSER)
    assert page.status_code == 200
    assert 'href="/tiny/tiny"' in page.text


@pytest.mark.parametrize(
    "base_url",
    [
        "host.example",
        "ftp://host.example",
        "http://",
        "https:///scope",
        "http://host.example:99999",
        "http://ho st.example",
        "http://me:secret@host.example",
        "http://host.example/scope?x=1",
        "http://host.example/scope#x",
        "http://host.example/a b",
        "http://host.example/a//b",
        "http://host.example/../b",
        "http://host.example/%2e%2e",
    ],
)
def test_an_impossible_base_url_is_refused_at_start(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEVIEW_BASE_URL", base_url)
    with pytest.raises(InputError, match=r"SCOPEVIEW_BASE_URL: .*expected for example"):
        read_settings({"index_dirs": []})


def test_a_base_url_and_a_root_path_that_disagree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOPEVIEW_BASE_URL", "https://host.example/scope")
    monkeypatch.setenv("SCOPEVIEW_ROOT_PATH", "/other")
    with pytest.raises(InputError, match="'/scope' and root_path is '/other'"):
        read_settings({"index_dirs": []})
