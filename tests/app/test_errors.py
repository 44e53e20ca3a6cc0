"""What is wrong is said: 404 for ids, 422 for values, in HTML for pages and JSON for scripts."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.state import AppState
from scopeview.errors import ModelError
from tests.app.conftest import StartSite
from tests.app.tower import FakeTower

NOT_FOUND = [
    "/nothing",
    "/tiny/2",
    "/tiny/+1",
    "/tiny/1_0",
    "/tiny/01",
    "/tiny/-1",
    "/tiny/1/96",
    "/tiny/1/+1",
    "/tiny/1/1_0",
    "/tiny/1/99999999999999999999",
    "/tiny/1/4000000000",
    "/tiny/1/one",
    "/tiny/images/64",
    "/tiny/images/1_0",
    "/tiny/images/9999999999",
    "/tiny/searches",
    "/tiny/1/96/og.png",
    "/tiny/images/64/report",
    "/tiny/uploads/short",
    "/tiny/uploads/AAAAAAAAAAAAAAAAAAAAAA",
    "/tiny/uploads/..%2F..%2Fetc%2Fpasswd",
    "/nothing/1/0",
    "/static/../app/main.py",
    "/static/nothing.css",
    "/favicon.png",
    "/tiny/1/0/1/2/3",
    "/TINY",
]
NO_IMAGE = [
    "/tiny/thumbs/64.webp",
    "/tiny/thumbs/+1.webp",
    "/tiny/thumbs/one.webp",
    "/tiny/grids/1/cls/7.webp",
    "/tiny/grids/1/0/0.webp",
    "/tiny/grids/1/cls/1_0.webp",
    "/tiny/grids/2/cls/0.webp",
    "/tiny/grids/embed/any/0.webp",
    "/tiny/grids/1/..%2F/0.webp",
    "/tiny/uploads/AAAAAAAAAAAAAAAAAAAAAA.webp",
]
BAD_VALUES = [
    ("/tiny/1?token=9", "token", "cls, 137 or any"),
    ("/tiny/1?token=", "token", "cls, 137 or any"),
    ("/tiny/embed/0?token=any", "token", "cls"),
    ("/tiny/1?sort=best", "sort", "feature, density, max, clarity, score, selectivity or random"),
    ("/tiny/1?min_images=-1", "min_images", "whole number"),
    ("/tiny/1?min_images=1_0", "min_images", "whole number"),
    ("/tiny/1?seed=x", "seed", "whole number"),
    ("/tiny/1?page=0", "page", "greater than or equal to 1"),
    ("/tiny/1?page=99", "page", "1 to 1"),
    ("/tiny/1/0?page=99", "page", "1 to 3"),
    ("/tiny/images/1?layer=2", "layer", "1, 3 or embed"),
    ("/tiny/images/1?token=x", "token", "cls, 137 or any"),
    ("/tiny/random?layer=9", "layer", "1, 3 or embed"),
]
BAD_API_VALUES = [
    ("/api/v1/tiny/1?limit=0", "limit"),
    ("/api/v1/tiny/1?limit=501", "limit"),
    ("/api/v1/tiny/1?offset=-1", "offset"),
    ("/api/v1/tiny/1/0?token=ANY", "token"),
    ("/api/v1/tiny/images?after=x", "after"),
    ("/api/v1/tiny/images?limit=1e3", "limit"),
]


@pytest.mark.parametrize("address", NOT_FOUND)
def test_unknown_and_malformed_ids_are_a_404_page_for_people(site: TestClient, address: str) -> None:
    answer = site.get(address)
    assert answer.status_code == site.head(address).status_code == 404
    assert "<h1>Page not found</h1>" in answer.text


@pytest.mark.parametrize("address", NO_IMAGE)
def test_images_that_there_are_not_are_404(site: TestClient, address: str) -> None:
    assert site.get(address).status_code == 404


@pytest.mark.parametrize(
    "address", [url for url in NOT_FOUND if url.startswith("/tiny/") and ".." not in url]
)
def test_the_same_ids_are_404_in_json(site: TestClient, address: str) -> None:
    answer = site.get(f"/api/v1{address}")
    assert answer.status_code == 404
    assert answer.json().keys() == {"error", "detail"}
    assert answer.json()["error"] == "not_found"


@pytest.mark.parametrize(("address", "name", "accepted"), BAD_VALUES)
def test_a_bad_value_is_a_422_that_names_what_is_accepted(
    site: TestClient, address: str, name: str, accepted: str
) -> None:
    answer = site.get(address)
    assert answer.status_code == 422
    said = re.search(r'id="problem">([^<]*)<', answer.text)
    assert said
    assert said[1].startswith(f"Invalid {name} &#39;")
    assert accepted in said[1]


@pytest.mark.parametrize(("address", "name"), BAD_API_VALUES)
def test_a_bad_value_is_a_422_in_json(site: TestClient, address: str, name: str) -> None:
    answer = site.get(address)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"Invalid {name} '")


def test_what_is_echoed_is_escaped(site: TestClient) -> None:
    html = site.get("/tiny/1?sort=<script>alert(1)</script>").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_a_page_in_json_is_asked_for_by_accept(site: TestClient) -> None:
    answer = site.get("/tiny/2", headers={"Accept": "application/json"})
    assert answer.json()["error"] == "not_found"


def test_other_methods_are_405(site: TestClient) -> None:
    assert site.post("/tiny/1").status_code == 405
    assert site.delete("/api/v1/tiny").json()["error"] == "method_not_allowed"


def test_what_breaks_inside_is_a_500_that_tells_nothing(
    site: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    state: AppState = site.app.state.site  # type: ignore[attr-defined]
    reader = state.indexes["tiny"].reader

    def broken(_: int) -> None:
        raise RuntimeError("secret /srv/path")

    monkeypatch.setattr(reader, "image", broken)
    for address in ("/tiny/images/1", "/api/v1/tiny/images/1"):
        answer = site.get(address)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert answer.headers["content-security-policy"]


def test_requests_are_counted_by_route_and_uploads_by_outcome(site: TestClient) -> None:
    for address in ("/tiny/1/0", "/tiny/1/1", "/nothing/at/all/here", "/healthz"):
        site.get(address)
    site.post("/tiny/uploads")
    told = site.get("/metrics").text
    assert (
        'scopeview_requests_total{method="GET",route="/{index}/{layer}/{feature}",status="200"} 2.0' in told
    )
    assert 'scopeview_uploads_total{outcome="unsupported"} 1.0' in told
    assert "/tiny" not in told


def test_the_state_of_the_server_is_told(site: TestClient) -> None:
    assert site.get("/healthz").json() == {"ok": True}
    waiting = {"tiny": "not loaded yet"}
    ready = {"ready": True, "indexes": ["tiny"], "encoder": waiting, "text": waiting, "loaded": {}}
    ready["uploads"] = "kept"
    assert _told(site) == ready
    site.get("/tiny/search?q=a+red+heart")
    assert _told(site) == {**ready, "text": {"tiny": "loaded"}}


def _told(site: TestClient) -> dict[str, Any]:
    """What stays the same while the index is read into memory."""
    return {name: told for name, told in site.get("/readyz").json().items() if name != "warm"}


def test_when_an_index_is_in_memory_is_told(site: TestClient) -> None:
    for _ in range(200):
        if (warm := site.get("/readyz").json()["warm"]) == {"tiny": True}:
            break
        time.sleep(0.05)
    assert warm == {"tiny": True}


def test_why_a_text_tower_is_absent_is_told_beside_the_encoder(start_site: StartSite) -> None:
    def absent(_: Path) -> FakeTower:
        raise ModelError("/srv/secret/model has no text encoder")

    site = start_site(text_factory=absent)
    site.get("/tiny/search?q=a+red+heart")
    state = site.get("/readyz").json()
    assert state["ready"] is True
    assert state["text"] == {"tiny": "the text encoder of this index is missing"}
    assert state["encoder"] == {"tiny": "not loaded yet"}
