"""Uploads are reported and taken down as indexed images are; what the file of reports says opens none."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from tests.app.conftest import StartSite
from tests.app.sample_images import API, BROWSER, FORM, form, sample_image
from tests.app.test_blocklist import write
from tests.app.test_reports import lines

IMAGE = sample_image()
SHA = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture
def blocklist(tmp_path: Path) -> Path:
    path = tmp_path / "blocked.txt"
    write(path, "# nothing yet")
    return path


@pytest.fixture
def watched(start_site: StartSite, blocklist: Path) -> TestClient:
    """A site with a block-list."""
    return start_site(blocklist=blocklist, uploads_per_minute=0)


def sent(site: TestClient, data: bytes = IMAGE) -> dict[str, Any]:
    answer = site.post(API, files=form(data))
    assert answer.status_code == 201
    body: dict[str, Any] = answer.json()
    return body


def noted(upload_dir: Path) -> dict[str, Any]:
    """What the only upload's JSON says."""
    (path,) = upload_dir.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def with_a_note() -> bytes:
    """The same pixels in another file."""
    note = PngInfo()
    note.add_text("note", "another file")
    return sample_image(pnginfo=note)


def test_a_report_of_an_upload_is_a_line_with_what_the_block_list_needs(
    site: TestClient, upload_dir: Path
) -> None:
    body = sent(site)
    address = f"{body['url']}/report"
    assert "Report this upload" in site.get(address).text
    answer = site.post(address, data={"reason": "person", "words": "me"}, headers=BROWSER)
    assert answer.status_code == 303
    assert "Thank you" in site.get(answer.headers["location"]).text
    (line,) = lines(upload_dir)
    assert line.pop("created")
    assert line == {
        "index": "tiny",
        "upload": body["url"].rpartition("/")[2][:8],
        "sha256": SHA,
        "crop_sha256": noted(upload_dir)["crop_sha256"],
        "reason": "person",
        "words": "me",
    }


def test_a_report_holds_neither_the_key_nor_the_whole_id_of_the_upload(
    site: TestClient, upload_dir: Path
) -> None:
    body = sent(site)
    site.post(f"{body['url']}/report", headers=BROWSER)
    written = (upload_dir / "reports.jsonl").read_text()
    upload_id = body["url"].rpartition("/")[2]
    assert body["delete_key"] not in written
    assert upload_id not in written
    (found,) = upload_dir.glob(f"{upload_id[:8]}*.webp")
    assert found.stem == upload_id


def test_every_upload_page_leads_to_its_report_which_no_cache_keeps(site: TestClient) -> None:
    url = sent(site)["url"]
    assert f'href="{url}/report"' in site.get(url).text
    assert site.get(f"{url}/report").headers["cache-control"] == "no-store"


def test_a_report_of_an_upload_that_is_not_there_or_no_more_is_refused(
    site: TestClient, upload_dir: Path
) -> None:
    body = sent(site)
    site.delete(f"/api/v1{body['url']}", headers={"Delete-Key": body["delete_key"]})
    for address, status in ((f"{body['url']}/report", 410), (f"{FORM}/{'A' * 22}/report", 404)):
        assert site.get(address).status_code == status
        assert site.post(address, headers=BROWSER).status_code == status
    assert lines(upload_dir) == []


def test_an_operators_own_address_gets_the_link_and_the_beginning_of_the_id(start_site: StartSite) -> None:
    site = start_site(report_to="https://a.example/?i={image_id}&u={url}")
    url = sent(site)["url"]
    upload_id = url.rpartition("/")[2]
    assert site.get(f"{url}/report").headers["location"] == (
        f"https://a.example/?i={upload_id[:8]}&u=http%3A%2F%2Ftestserver%2Ftiny%2Fuploads%2F{upload_id}"
    )


@pytest.mark.parametrize("hashed", ["sha256", "crop_sha256"])
def test_a_blocked_upload_is_gone_at_once_and_back_when_the_line_goes(
    watched: TestClient, blocklist: Path, upload_dir: Path, hashed: str
) -> None:
    body = sent(watched)
    url = body["url"]
    pages = [
        url,
        f"{url}.webp",
        f"/api/v1{url}",
        f"{url}/report",
        f"{url}/delete",
        f"{url}/activations?tokens=any",
    ]
    assert {watched.get(page).status_code for page in pages} == {200}
    write(blocklist, noted(upload_dir)[hashed])
    for page in pages:
        answer = watched.get(page)
        assert answer.status_code == 410
        assert "removed by the operator" in answer.text
    with_key = f"{url}/keep?key={body['delete_key']}"
    assert watched.post(with_key, headers=BROWSER).status_code == 410
    write(blocklist)
    assert {watched.get(page).status_code for page in pages} == {200}


def test_a_blocked_upload_is_no_query_and_no_companion(watched: TestClient, blocklist: Path) -> None:
    upload_id = sent(watched)["url"].rpartition("/")[2]
    pages = [f"/tiny/search?upload={upload_id}", f"/tiny/images/9/compare?with={upload_id}"]
    assert {watched.get(page).status_code for page in pages} == {200}
    write(blocklist, SHA)
    assert {watched.get(page).status_code for page in pages} == {410}


@pytest.mark.parametrize("address", [API, FORM, "/tiny/search"])
def test_a_blocked_image_is_refused_when_it_is_sent_again_and_leaves_no_trace(
    watched: TestClient, blocklist: Path, upload_dir: Path, address: str
) -> None:
    write(blocklist, SHA)
    answer = watched.post(address, files=form(IMAGE))
    assert answer.status_code == 403
    assert "blocked this image" in answer.text
    assert list(upload_dir.iterdir()) == []
    assert 'scopeview_uploads_total{outcome="blocked"} 1.0' in watched.get("/metrics").text


def test_the_crop_of_a_blocked_image_is_refused_in_another_file_too(
    watched: TestClient, blocklist: Path, upload_dir: Path
) -> None:
    sent(watched)
    write(blocklist, SHA)
    assert watched.post(API, files=form(with_a_note())).status_code == 201
    write(blocklist, noted_crop(upload_dir))
    assert watched.post(API, files=form(with_a_note())).status_code == 403


def noted_crop(upload_dir: Path) -> str:
    """Of all uploads, which have the same pixels."""
    (crop,) = {json.loads(path.read_text())["crop_sha256"] for path in upload_dir.glob("*.json")}
    return str(crop)


def test_an_upload_of_before_files_were_hashed_is_reported_and_blocked_by_its_crop(
    watched: TestClient, blocklist: Path, upload_dir: Path
) -> None:
    url = sent(watched)["url"]
    (path,) = upload_dir.glob("*.json")
    before = {name: value for name, value in noted(upload_dir).items() if name != "sha256"}
    path.write_text(json.dumps(before))
    watched.post(f"{url}/report", headers=BROWSER)
    (line,) = lines(upload_dir)
    assert line["sha256"] == before["crop_sha256"]
    write(blocklist, str(line["sha256"]))
    assert watched.get(url).status_code == 410


def test_a_deleted_upload_keeps_no_hash_of_the_image(site: TestClient, upload_dir: Path) -> None:
    body = sent(site)
    site.delete(f"/api/v1{body['url']}", headers={"Delete-Key": body["delete_key"]})
    left = noted(upload_dir)
    assert (left["sha256"], left["crop_sha256"]) == ("", "")
