"""Uploads that are taken: what is kept, for how long, and for whom."""

import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.app.conftest import StartSite
from tests.app.index import K
from tests.app.sample_images import API, BROWSER, FORM, form, sample_image


def test_a_script_gets_201_with_url_codes_expiry_and_delete_key(site: TestClient) -> None:
    answer = site.post(API, files=form(sample_image()))
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == body["url"]
    assert answer.headers["cache-control"] == "private, no-store"
    assert [(code["layer"], code["token"]) for code in body["codes"]][:3] == [
        (1, "cls"),
        (1, "137"),
        (1, "any"),
    ]
    assert len(body["codes"][0]["features"]) == K
    assert body["delete_key"]
    read = site.get(f"/api/v1{body['url']}").json()
    assert read == {key: value for key, value in body.items() if key != "delete_key"}


def test_a_browser_without_script_is_sent_on_to_the_result(site: TestClient) -> None:
    answer = site.post(FORM, files=form(sample_image()), headers=BROWSER)
    assert answer.status_code == 303
    page = site.get(answer.headers["location"])
    assert page.status_code == 200
    assert page.headers["cache-control"] == "private, no-store"
    assert "kept until" in page.text
    assert "Delete this image" in page.text


def test_only_the_browser_that_sent_it_may_delete_it(site: TestClient) -> None:
    url = site.post(FORM, files=form(sample_image()), headers=BROWSER).headers["location"]
    key = site.cookies.get("delete_key")
    site.cookies.clear()
    assert "Delete this image" not in site.get(url).text
    assert site.post(f"{url}/delete").status_code == 403
    assert site.get(url).status_code == 200
    answer = site.post(f"{url}/delete", headers={"Cookie": f"delete_key={key}"})
    assert (answer.status_code, answer.headers["location"]) == (303, url)
    gone = site.get(url)
    assert gone.status_code == 410
    assert "deleted" in gone.text
    assert site.get(f"{url}.webp").status_code == 410


def test_the_cookie_is_for_this_upload_and_no_script(site: TestClient) -> None:
    answer = site.post(FORM, files=form(sample_image()), headers=BROWSER)
    cookie = answer.headers["set-cookie"]
    assert f"Path={answer.headers['location']}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_a_script_deletes_with_the_key(site: TestClient, upload_dir: Path) -> None:
    body = site.post(API, files=form(sample_image())).json()
    url = f"/api/v1{body['url']}"
    assert site.delete(url, headers={"Delete-Key": "wrong"}).status_code == 403
    assert site.delete(url, headers={"Delete-Key": body["delete_key"]}).status_code == 204
    assert site.get(url).status_code == 410
    assert site.get(url).json()["error"] == "gone"
    assert [path.suffix for path in upload_dir.iterdir()] == [".json"]
    assert len(next(upload_dir.iterdir()).read_bytes()) < 400


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {"save_all": True})]
)
def test_images_are_told_by_content_and_not_by_name(
    site: TestClient, kind: str, options: dict[str, Any]
) -> None:
    assert site.post(API, files=form(sample_image(kind, **options))).status_code == 201


def exif() -> Image.Exif:
    made = Image.Exif()
    made[0x010E] = "where I live"
    return made


def test_what_is_kept_is_a_fresh_webp_of_the_square_and_nothing_else(
    site: TestClient, upload_dir: Path
) -> None:
    url = site.post(API, files=form(sample_image("JPEG", exif=exif()))).json()["picture_url"]
    answer = site.get(url)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, no-store"
    with Image.open(io.BytesIO(answer.content)) as kept:
        assert (kept.format, kept.size) == ("WEBP", (128, 128))
        assert not kept.getexif()
    stored = sorted(upload_dir.rglob("*"))
    assert [path.suffix for path in stored] == [".json", ".webp"]
    assert all(
        b"where I live" not in path.read_bytes() and b"evil" not in path.read_bytes() for path in stored
    )
    assert {path.name for path in upload_dir.parent.iterdir()} == {"uploads"}


def test_an_upload_belongs_to_its_index(start_site: StartSite, small_index: Any, tmp_path: Path) -> None:
    from tests.app.index import write_index

    other = write_index(tmp_path / "other", slug="other")
    site = start_site(index_dirs=[small_index.index_dir, other.index_dir])
    url = site.post(API, files=form(sample_image())).json()["url"]
    assert site.get(url.replace("/tiny/", "/other/")).status_code == 404


def test_an_expired_upload_is_gone_before_and_after_it_is_swept(
    site: TestClient, upload_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.post(API, files=form(sample_image())).json()["url"]
    now, store = time.time(), site.app.state.site.uploads  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "clock", lambda: now + 25 * 3600)
    assert site.get(url).status_code == 410
    store.sweep()
    assert "expired" in site.get(url).text
    assert [path.suffix for path in upload_dir.iterdir()] == [".json"]
    monkeypatch.setattr(store, "clock", lambda: now + 60 * 24 * 3600)
    store.sweep()
    assert list(upload_dir.iterdir()) == []
    assert site.get(url).status_code == 404


def test_an_image_that_a_kill_left_without_codes_is_swept(site: TestClient, upload_dir: Path) -> None:
    stray, others = upload_dir / f"{'A' * 22}.webp", upload_dir / "notes.txt"
    for path in (stray, others):
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    site.app.state.site.uploads.sweep()  # type: ignore[attr-defined]
    assert [path.name for path in upload_dir.iterdir()] == ["notes.txt"]


def test_a_damaged_record_is_a_404_and_not_a_crash(site: TestClient, upload_dir: Path) -> None:
    (upload_dir / f"{'A' * 22}.json").write_text(json.dumps({"upload_id": "A"}))
    assert site.get(f"/tiny/uploads/{'A' * 22}").status_code == 404


def test_the_result_shows_the_activations_of_its_json(site: TestClient) -> None:
    body = site.post(API, files=form(sample_image())).json()
    code = next(code for code in body["codes"] if (code["layer"], code["token"]) == (3, "any"))
    html = site.get(f"{body['url']}?layer=3&token=any").text
    for pair in code["features"]:
        assert f'<data value="{pair["activation"]!r}"' in html
        assert f'href="/tiny/3/{pair["feature"]}?token=any"' in html
