"""Reports of images: a form for people, a line for the operator, and no flood."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.moderation import reports
from app.moderation.reports import Reports, VisitorReport
from app.pages.report import address
from app.settings import Settings
from app.web.errors import ProblemError
from tests.app.conftest import StartSite
from tests.app.sample_images import BROWSER

ADDRESS = "/tiny/images/9/report"
REPORT = VisitorReport("2026-11-21T05:30:00Z", "tiny", 9, "image-009", "0" * 64, None, "other", "")


def lines(upload_dir: Path) -> list[dict[str, object]]:
    path = upload_dir / "reports.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_a_report_is_a_line_with_what_the_block_list_needs(site: TestClient, upload_dir: Path) -> None:
    assert "Why should it not be here?" in site.get(ADDRESS).text
    sent = site.post(ADDRESS, data={"reason": "rights", "words": "mine\n<b>really</b>"}, headers=BROWSER)
    assert sent.status_code == 303
    assert "Thank you" in site.get(sent.headers["location"]).text
    (line,) = lines(upload_dir)
    assert line.pop("created")
    assert line == {
        "index": "tiny",
        "image_id": 9,
        "key": "image-009",
        "sha256": f"{9:064x}",
        "source_url": "https://example.org/9.jpg",
        "reason": "rights",
        "words": "mine\n<b>really</b>",
    }


def test_a_form_claims_only_what_is_known_of_the_image_and_chooses_no_reason(site: TestClient) -> None:
    html = site.get(ADDRESS).text
    assert "comes from the open web" in html
    assert "checked" not in html
    without_source = site.get("/tiny/images/0/report").text  # its address is none that can be followed
    assert "open web" not in without_source
    assert "does not remove it" not in without_source


def test_every_image_page_leads_to_its_report(site: TestClient) -> None:
    assert f'href="{ADDRESS}"' in site.get("/tiny/images/9").text


@pytest.mark.parametrize(
    ("data", "accepted"), [({"reason": "no"}, "unsafe, person"), ({"words": "a" * 1001}, "at most 1000")]
)
def test_what_does_not_fit_is_told(
    site: TestClient, upload_dir: Path, data: dict[str, str], accepted: str
) -> None:
    answer = site.post(ADDRESS, data=data, headers=BROWSER)
    assert answer.status_code == 422
    assert accepted in answer.text
    assert lines(upload_dir) == []


def test_what_is_not_there_cannot_be_reported(site: TestClient) -> None:
    assert site.get("/tiny/images/64/report").status_code == 404
    assert site.post("/tiny/images/64/report", headers=BROWSER).status_code == 404


def test_another_site_may_not_send_a_report(site: TestClient, upload_dir: Path) -> None:
    headers = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
    assert site.post(ADDRESS, headers=headers).status_code == 403
    assert lines(upload_dir) == []


def test_one_visitor_may_send_a_few_a_minute(site: TestClient, upload_dir: Path) -> None:
    statuses = [site.post(ADDRESS, headers=BROWSER).status_code for _ in range(6)]
    assert statuses == [303] * 5 + [429]
    assert len(lines(upload_dir)) == 5


def test_all_together_may_send_so_many_an_hour(tmp_path: Path) -> None:
    kept = Reports(tmp_path / "reports.jsonl", a_minute=1, an_hour=2)
    kept.refuse_too_many("one")
    kept.refuse_too_many("two")
    with pytest.raises(ProblemError) as caught:
        kept.refuse_too_many("three")
    assert caught.value.answer.headers["Retry-After"] == "600"


def test_the_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_FILE_BYTES", 10)
    kept = Reports(tmp_path / "reports.jsonl")
    kept.add(REPORT)
    with pytest.raises(ProblemError, match="cannot store more reports"):
        kept.add(REPORT)


def test_an_operator_may_have_an_address_of_their_own(start_site: StartSite) -> None:
    site = start_site(report_to="mailto:a@b.example?subject={index}%20{image_id}&body={url}")
    answer = site.get(ADDRESS)
    assert answer.status_code == 302
    assert answer.headers["location"] == (
        "mailto:a@b.example?subject=tiny%209&body=http%3A%2F%2Ftestserver%2Ftiny%2Fimages%2F9"
    )


def test_what_is_put_into_an_address_cannot_change_it() -> None:
    assert address("https://a.example/?u={url}", "s", 1, "https://x/&y=1#z") == (
        "https://a.example/?u=https%3A%2F%2Fx%2F%26y%3D1%23z"
    )


def test_an_address_is_of_mail_or_the_web(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must begin with mailto:"):
        Settings(index_dirs=[tmp_path], report_to="javascript:alert(1)")
