"""What those who run a server see of it: logs, request ids, metrics, robots.txt."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.settings import read_settings
from app.web.request_log import JsonLines, without_secrets
from tests.app.sample_images import API, form, sample_image


@pytest.fixture
def json_lines() -> Iterator[io.StringIO]:
    """The log as `SCOPEVIEW_LOG_FORMAT=json` has it."""
    written, logger = io.StringIO(), logging.getLogger("scopeview")
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_each_answer_carries_the_id_of_its_line_in_the_log(site: TestClient, json_lines: io.StringIO) -> None:
    answer = site.get("/tiny/1?token=cls")
    (line,) = [json.loads(text) for text in json_lines.getvalue().splitlines() if "/tiny/1" in text]
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/tiny/1?token=cls", 200)
    assert line["duration_ms"] > 0


@pytest.mark.parametrize(
    ("given", "is_kept"), [("proxy-17.a_b", True), ("a\tb", False), ("x" * 65, False), ("", False)]
)
def test_the_id_of_a_proxy_is_kept_where_it_is_plain(site: TestClient, given: str, is_kept: bool) -> None:
    answer = site.get("/healthz", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is is_kept


def test_a_failure_that_nothing_expected_has_its_id_in_answer_and_log(
    site: TestClient, json_lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("app.pages.home.frame_for", broken)
    answer = site.get("/tiny")
    assert answer.status_code == 500
    assert f'"request_id": "{answer.headers["x-request-id"]}"' in json_lines.getvalue()


def test_ids_and_keys_of_uploads_are_never_logged(site: TestClient, json_lines: io.StringIO) -> None:
    sent = site.post(API, files=form(sample_image())).json()
    site.get(f"/tiny/uploads/{sent['upload_id']}.webp")
    site.get(f"/tiny/uploads/{sent['upload_id']}/delete?key={sent['delete_key']}")
    site.get(f"/tiny/1/1?upload={sent['upload_id']}")
    written = json_lines.getvalue()
    assert "/tiny/uploads/-/delete?key=-" in written
    assert sent["upload_id"] not in written
    assert sent["delete_key"] not in written


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        ("/demo/uploads", "", "/demo/uploads"),
        ("/api/v1/demo/uploads/AbC-1/heat", "feature=1&key=x", "/api/v1/demo/uploads/-/heat?feature=1&key=-"),
        ("/demo/uploads/AbC-1.webp", "", "/demo/uploads/-.webp"),
        ("/demo/search", "q=a%20b&upload=AbC", "/demo/search?q=a+b&upload=-"),
    ],
)
def test_addresses_are_written_without_secrets(path: str, query: str, shown: str) -> None:
    assert without_secrets(path, query) == shown


def test_metrics_tell_of_process_queue_encoder_disk_and_sweeper(site: TestClient) -> None:
    site.post(API, files=form(sample_image()))
    found = dict(re.findall(r"^(\S+) (\S+)$", site.get("/metrics").text, re.MULTILINE))
    assert float(found["process_resident_memory_bytes"]) > 0
    assert found["scopeview_worker_waiting"] == "0.0"
    assert found['scopeview_encoder_loaded{index="tiny"}'] == "1.0"
    assert found["scopeview_uploads_kept"] == "1.0"
    assert found["scopeview_uploads_writable"] == "1.0"
    assert float(found["scopeview_uploads_disk_free_bytes"]) > 0
    assert {"scopeview_sweep_timestamp_seconds", "scopeview_sweep_failures_total"} < found.keys()


def test_robots_are_kept_out_but_for_those_that_show_shared_links(site: TestClient) -> None:
    robots = site.get("/robots.txt")
    assert robots.headers["content-type"].startswith("text/plain")
    assert robots.text.endswith("User-agent: *\nDisallow: /\n")
    assert "User-agent: Twitterbot\n" in robots.text


def test_a_misspelt_variable_is_warned_of_at_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SCOPEVIEW_BLOKLIST", "blocked.txt")
    monkeypatch.setenv("SCOPEVIEW_CACHE", "/tmp/cache")
    monkeypatch.setenv("SCOPEVIEW_PORT", "0")
    assert read_settings({"index_dirs": []}).port == 0
    warned = [record.getMessage() for record in caplog.records if "SCOPEVIEW" in record.getMessage()]
    assert warned == [
        "SCOPEVIEW_BLOKLIST is set in the environment, and no setting has that name: did you mean"
        " SCOPEVIEW_BLOCKLIST?"
    ]
