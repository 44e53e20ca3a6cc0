"""What a server on the open web says of itself, and to whom: slashes, other sites, methods, leaks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from starlette.testclient import TestClient

from app.formatting import safe_link
from app.web.server_socket import bound_socket
from scopeview.errors import ScopeviewError
from scopeview.store.schema import MAX_CAPTION_CHARS
from tests.app.conftest import StartSite
from tests.app.index import SmallIndex, write_index
from tests.app.sample_images import API, form, sample_image
from tests.nginx import free_port

ELSEWHERE = {"Origin": "https://notebook.example"}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/tiny/", "/tiny"),
        ("/tiny/1/?token=cls&sort=density", "/tiny/1?token=cls&sort=density"),
        ("/api/v1/tiny/", "/api/v1/tiny"),
        ("//evil.example/", "/evil.example"),
        ("/%5Cevil.example/", "/%5Cevil.example"),
    ],
)
def test_a_slash_at_the_end_leads_to_the_page_without_it(site: TestClient, path: str, location: str) -> None:
    answer = site.get(f"http://testserver{path}")
    assert answer.status_code == 308
    assert answer.headers["location"] == location


def test_a_slash_at_the_end_keeps_the_path_prefix(start_site: StartSite) -> None:
    site = start_site(base_url="https://host.example/scope")
    assert site.get("/tiny/").headers["location"] == "/scope/tiny"


OLD = tuple(f"{root}/tiny/images/5/{part}" for root in ("", "/api/v1") for part in ("apart", "knobs"))
QUERY = "layer=3&tokens=17,33-35"


@pytest.mark.parametrize("path", OLD)
@pytest.mark.parametrize("end", ["", "/"])
def test_an_old_address_leads_for_good_to_the_same_view_at_its_new_one(
    site: TestClient, path: str, end: str
) -> None:
    answer = site.get(f"{path}{end}?{QUERY}&unknown=a%2Fb")
    new = path.replace("apart", "activations").replace("knobs", "steering")
    assert (answer.status_code, answer.headers["location"]) == (308, f"{new}?{QUERY}&unknown=a%2Fb")
    assert site.head(f"{path}?{QUERY}").headers["location"] == f"{new}?{QUERY}"
    followed, direct = site.get(f"{path}?{QUERY}", follow_redirects=True), site.get(f"{new}?{QUERY}")
    assert followed.status_code == 200
    assert followed.content == direct.content


def test_an_old_address_keeps_the_path_prefix(start_site: StartSite) -> None:
    site = start_site(root_path="/scope")
    for path in OLD:
        new = path.replace("apart", "activations").replace("knobs", "steering")
        for asked in (path, f"/scope{path}"):
            answer = site.get(f"{asked}?{QUERY}&edit=2:0")
            assert (answer.status_code, answer.headers["location"]) == (308, f"/scope{new}?{QUERY}&edit=2:0")


def test_pages_of_other_sites_may_follow_an_old_address_of_the_json(start_site: StartSite) -> None:
    site = start_site(api_cors=True)
    answer = site.get("/api/v1/tiny/images/5/apart", headers={"origin": "https://other.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (308, "*")


def test_the_home_page_keeps_its_slash(site: TestClient) -> None:
    assert site.get("/").status_code == 200


def test_other_sites_may_read_the_json_and_nothing_else(site: TestClient) -> None:
    assert site.get("/api/v1/tiny", headers=ELSEWHERE).headers["access-control-allow-origin"] == "*"
    assert site.get("/api/v1/nothing", headers=ELSEWHERE).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in site.get("/tiny", headers=ELSEWHERE).headers
    sent = site.post(API, files=form(sample_image()), headers=ELSEWHERE)
    assert sent.status_code == 403
    assert "access-control-allow-origin" not in sent.headers


def test_a_browser_that_asks_first_hears_that_only_reading_is_allowed(site: TestClient) -> None:
    asking = {**ELSEWHERE, "Access-Control-Request-Method": "DELETE"}
    assert site.options(f"{API}/x", headers=asking).status_code == 400
    asking["Access-Control-Request-Method"] = "GET"
    assert site.options("/api/v1/tiny", headers=asking).status_code == 200


def test_the_json_can_be_closed_to_other_sites(start_site: StartSite) -> None:
    answer = start_site(api_cors=False).get("/api/v1/tiny", headers=ELSEWHERE)
    assert "access-control-allow-origin" not in answer.headers


def test_allow_names_the_methods_of_all_routes_of_an_address(site: TestClient) -> None:
    assert site.put(f"{API}/x").headers["allow"] == "DELETE, GET, HEAD"
    assert site.put("/tiny/uploads").headers["allow"] == "GET, HEAD, POST"


def test_bounds_of_numbers_in_the_api_description_are_those_of_json_schema(site: TestClient) -> None:
    document = site.get("/api/v1/openapi.json")
    assert '"ge"' not in document.text
    assert '"le"' not in document.text
    parameters = document.json()["paths"]["/api/v1/{index}/{layer}"]["get"]["parameters"]
    (limit,) = (each["schema"] for each in parameters if each["name"] == "limit")
    assert (limit["minimum"], limit["maximum"]) == (1, 500)


def test_the_api_description_says_that_an_image_may_be_gone(site: TestClient) -> None:
    document = site.get("/api/v1/openapi.json").json()
    assert "410" in document["paths"]["/api/v1/{index}/images/{image_id}"]["get"]["responses"]


def test_readyz_names_the_model_as_pages_do_and_not_by_its_folder(site: TestClient) -> None:
    site.post(API, files=form(sample_image()))
    state = site.get("/readyz").json()
    ref = site.app.state.site.indexes["tiny"].manifest.model.ref  # type: ignore[attr-defined]
    assert state["loaded"]["tiny"]["model"] == ref


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://user:secret@host.example/a.jpg?b=@c", "https://host.example/a.jpg?b=@c"),
        ("http://secret@host.example:81/a", "http://host.example:81/a"),
        ("https://host.example/@a", "https://host.example/@a"),
        ("https://user:secret@", None),
    ],
)
def test_a_source_link_has_no_password_in_it(url: str, link: str | None) -> None:
    assert safe_link(url) == link


def test_a_caption_of_a_megabyte_makes_no_page_of_a_megabyte(start_site: StartSite, tmp_path: Path) -> None:
    index = write_index(tmp_path / "long", slug="long")
    (database,) = index.index_dir.glob("*.duckdb")
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE images SET caption = repeat('long ', 200000)")
    site = start_site(index_dirs=[index.index_dir])
    for path in ("/long/images/3", "/api/v1/long/images/3", "/api/v1/long/images?limit=20", "/long/1/1"):
        assert len(site.get(path).content) < 20 * MAX_CAPTION_CHARS + 60_000, path
    caption = site.get("/api/v1/long/images/3").json()["caption"]
    assert len(caption) == MAX_CAPTION_CHARS
    assert caption.endswith("…")


def test_a_port_in_use_is_said_in_one_line_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ScopeviewError, match=f"{port}: address already in use"):
            bound_socket("127.0.0.1", port)


def test_serve_ends_with_1_and_one_line_when_the_port_is_in_use(
    small_index: SmallIndex, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "scopeview", "serve", str(small_index.index_dir), "--port", port]
        ended = subprocess.run(
            [*command, "--uploads", str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "address already in use" in line


def test_a_server_that_runs_writes_its_log_as_json_where_that_is_asked_for(
    small_index: SmallIndex, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "scopeview", "serve", str(small_index.index_dir)]
    with subprocess.Popen(
        [*command, "--port", str(free_port()), "--uploads", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SCOPEVIEW_LOG_FORMAT": "json"},
    ) as server:
        assert server.stderr is not None
        written = []
        for line in server.stderr:
            written.append(line)
            if "running on" in line:
                break
        server.terminate()
        _, said = server.communicate(timeout=120)
    assert "is running on http://127.0.0.1:" in json.loads(written[-1])["message"]
    assert '"message": "Shutting down"' in said
