"""Uploads that are refused, and what is said: by image, by form, by sender, by load."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scopeview.errors import ModelError
from tests.app.conftest import StartSite
from tests.app.encoder import FakeEncoder
from tests.app.sample_images import API, FORM, form, sample_image


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (sample_image("PNG")[:60], 422, "corrupt"),
        (sample_image("JPEG")[:200], 422, "corrupt"),
        (b"", 422, "empty"),
    ],
    ids=["cut png", "cut jpeg", "empty"],
)
def test_what_is_no_whole_image_is_refused_before_a_model_is_loaded(
    strict_site: TestClient, data: bytes, status: int, error: str
) -> None:
    answer = strict_site.post(API, files=form(data))
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"%PDF-1.7\n1 0 obj <<>> endobj", "is a PDF"),
        (b"%PDF-1.7\n<html> PK\x05\x06" + bytes(18), "is a PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG image"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG image"),
        (sample_image("BMP"), "is a BMP image"),
        (sample_image("TIFF"), "is a TIFF image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1", "is a HEIC photo"),
        (b"\x00\x00\x00\x20ftypavif", "is an AVIF image"),
        (b"\x00\x00\x00\x18ftypmp42", "is a video"),
        (b"PK\x03\x04" + bytes(26) + b"PK\x05\x06" + bytes(18), "is a ZIP archive"),
        (b"<!doctype html><title>x</title>", "cannot be read as an image"),
        (b"words", "cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_told_what_it_is_and_which_kinds_are_accepted(
    strict_site: TestClient, data: bytes, named: str
) -> None:
    answer = strict_site.post(API, files=form(data)).json()
    assert answer == {
        "error": "unsupported",
        "detail": f"This file {named}. Accepted formats: JPEG, PNG, WebP or GIF.",
    }


def test_too_many_pixels_by_the_header_are_413(start_site: StartSite) -> None:
    site = start_site(max_upload_pixels=1000)
    answer = site.post(API, files=form(sample_image(size=(40, 30))))
    assert (answer.status_code, answer.json()["error"]) == (413, "too_many_pixels")


def test_too_many_bytes_are_413_by_length_and_when_streamed(start_site: StartSite) -> None:
    site = start_site(max_upload_bytes=100_000)
    answer = site.post(API, files=form(bytes(300_000)))
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")

    def chunks() -> Iterator[bytes]:  # no Content-Length
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield bytes(10_000)
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = site.post(API, content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize(
    "files",
    [form(sample_image(), name="file"), [*form(sample_image()).items()] * 2, {"image": (None, "text")}],
    ids=["wrong name", "two", "no file"],
)
def test_the_field_must_be_one_file_called_image(site: TestClient, files: Any) -> None:
    answer = site.post(API, files=files)
    assert answer.status_code == 422
    assert "'image'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "", 415),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 422),
        (b"--x", "multipart/form-data", 422),
    ],
)
def test_what_is_no_form_is_refused(site: TestClient, content: bytes, kind: str, status: int) -> None:
    assert site.post(API, content=content, headers={"Content-Type": kind}).status_code == status


def test_as_many_uploads_are_kept_as_the_operator_allows(start_site: StartSite) -> None:
    site = start_site(max_uploads=1)
    body = site.post(API, files=form(sample_image())).json()
    full = site.post(API, files=form(sample_image()))
    assert (full.status_code, full.json()["error"]) == (503, "full")
    site.delete(f"/api/v1{body['url']}", headers={"Delete-Key": body["delete_key"]})
    assert site.post(API, files=form(sample_image())).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_site_may_not_send_or_delete(site: TestClient, headers: dict[str, str]) -> None:
    assert site.post(FORM, files=form(sample_image()), headers=headers).status_code == 403
    body = site.post(API, files=form(sample_image())).json()
    wanted = {**headers, "Delete-Key": body["delete_key"]}
    assert site.delete(f"/api/v1{body['url']}", headers=wanted).status_code == 403


def test_our_own_origin_may_send(site: TestClient) -> None:
    assert (
        site.post(FORM, files=form(sample_image()), headers={"Origin": "http://testserver"}).status_code
        == 201
    )


def test_without_an_encoder_pages_work_and_uploads_say_why(start_site: StartSite) -> None:
    def absent(_: Path) -> FakeEncoder:
        raise ModelError("/srv/secret/model has no weights")

    site = start_site(factory=absent)
    answer = site.post(API, files=form(sample_image()))
    assert (answer.status_code, answer.json()["error"]) == (503, "encoder_absent")
    assert "/srv" not in answer.text
    assert "This server cannot analyze images now" in site.get(FORM).text
    assert "missing or unusable" in site.get("/readyz").json()["encoder"]["tiny"]
    assert site.get("/tiny/1/0").status_code == 200


def test_over_the_bound_uploads_are_told_to_come_back(start_site: StartSite, encoder: FakeEncoder) -> None:
    encoder.gate = threading.Event()
    site = start_site(upload_queue=2)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(site.post, API, files=form(sample_image())) for _ in range(2)]
        answer = _until_busy(site)
        encoder.gate.set()
        assert [each.result().status_code for each in waiting] == [201, 201]
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"] == "busy"
    assert site.post(API, files=form(sample_image())).status_code == 201


def _until_busy(site: TestClient) -> Any:
    queue = site.app.state.site.worker._places  # type: ignore[attr-defined]
    while queue._value:
        threading.Event().wait(0.005)
    return site.post(API, files=form(sample_image()))


def test_an_upload_that_waits_too_long_is_a_503(start_site: StartSite, encoder: FakeEncoder) -> None:
    encoder.gate = threading.Event()
    site = start_site(upload_deadline_s=0.05)
    answer = site.post(API, files=form(sample_image()))
    assert (answer.status_code, answer.json()["error"]) == (503, "too_slow")
    encoder.gate.set()


def test_what_the_encoder_raises_is_a_500_and_the_worker_lives(
    site: TestClient, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "decompose", lambda *_, **__: 1 / 0)
        assert site.post(API, files=form(sample_image())).status_code == 500
    assert site.post(API, files=form(sample_image())).status_code == 201
