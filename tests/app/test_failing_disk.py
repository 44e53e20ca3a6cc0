"""Uploads on a disk that is full, or that can only be read."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.state import AppState
from app.uploads.store import TOMBSTONE_S
from tests.app.conftest import StartSite
from tests.app.sample_images import API, form, sample_image

Disk = Callable[[], AbstractContextManager[None]]


@contextmanager
def full_disk() -> Iterator[None]:
    """Nothing can be written any more; what is there can be removed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", _refusing(errno.ENOSPC))
        patch.setattr(Path, "write_text", _refusing(errno.ENOSPC))
        yield


@contextmanager
def read_only_disk() -> Iterator[None]:
    """Nothing can be written or removed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_bytes", "write_text", "touch", "unlink", "replace"):
            patch.setattr(Path, name, _refusing(errno.EROFS))
        yield


def _refusing(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "the disk says no")

    return refuse


def send(site: TestClient) -> dict[str, str]:
    answer = site.post(API, files=form(sample_image()))
    assert answer.status_code == 201, answer.text
    sent: dict[str, str] = answer.json()
    return sent


def store_of(site: TestClient) -> AppState:
    found: AppState = site.app.state.site  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(("disk", "status"), [(full_disk, 507), (read_only_disk, 503)])
def test_an_upload_that_cannot_be_kept_is_no_failure_of_ours_and_leaves_nothing(
    site: TestClient, upload_dir: Path, disk: Disk, status: int
) -> None:
    with disk():
        answer = site.post(API, files=form(sample_image()))
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "600"
    assert "disk" in answer.json()["detail"]
    assert not list(upload_dir.glob("*.webp")) + list(upload_dir.glob("*.json"))


@pytest.mark.parametrize("disk", [full_disk, read_only_disk])
def test_a_deleted_upload_is_shown_to_nobody_whatever_the_disk_does(site: TestClient, disk: Disk) -> None:
    sent = send(site)
    url = f"{API}/{sent['upload_id']}"
    with disk():
        deleted = site.delete(url, headers={"Delete-Key": sent["delete_key"]})
        assert deleted.status_code == (204 if disk is full_disk else 503)
        assert site.get(url).status_code in (404, 410)
        assert site.get(f"/tiny/uploads/{sent['upload_id']}.webp").status_code in (404, 410)


def test_what_a_read_only_disk_kept_is_removed_by_the_next_sweep(site: TestClient, upload_dir: Path) -> None:
    sent = send(site)
    with read_only_disk():
        site.delete(f"{API}/{sent['upload_id']}", headers={"Delete-Key": sent["delete_key"]})
        assert store_of(site).uploads.sweep() == 1
    assert (upload_dir / f"{sent['upload_id']}.webp").exists()
    assert store_of(site).uploads.sweep() == 0
    assert not (upload_dir / f"{sent['upload_id']}.webp").exists()
    assert site.get(f"{API}/{sent['upload_id']}").status_code == 410


def test_a_sweep_goes_on_behind_a_file_that_fails(site: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = send(site)["upload_id"], send(site)["upload_id"]
    uploads = store_of(site).uploads
    uploads.clock = lambda: 4e9
    unlink = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path.name == f"{first}.webp":
            raise OSError(errno.EIO, "input/output error")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    assert uploads.sweep() == 1
    assert not (uploads.folder / f"{second}.webp").exists()
    monkeypatch.undo()
    assert uploads.sweep() == 0
    assert not (uploads.folder / f"{first}.webp").exists()


@pytest.mark.parametrize("disk", [full_disk, read_only_disk])
def test_a_server_starts_on_such_a_disk_with_an_expired_upload(start_site: StartSite, disk: Disk) -> None:
    before = start_site(upload_ttl_hours=1e-9)
    send(before)
    with disk():
        after = start_site()
        assert after.get("/tiny").status_code == 200


@pytest.mark.parametrize(
    ("disk", "words"), [(full_disk, "the disk is full"), (read_only_disk, "the disk cannot be written to")]
)
def test_readyz_says_why_no_upload_can_be_kept_and_pages_go_on(
    site: TestClient, disk: Disk, words: str
) -> None:
    assert site.get("/readyz").json()["uploads"] == "kept"
    store_of(site).uploads.clock = lambda: 4e9
    with disk():
        state = site.get("/readyz").json()
    assert state["uploads"] == words
    assert state["ready"] is True


def test_uploads_that_have_expired_do_not_count_against_the_limit(start_site: StartSite) -> None:
    site = start_site(max_uploads=1)
    send(site)
    assert site.post(API, files=form(sample_image())).status_code == 503
    uploads = store_of(site).uploads
    now = uploads.clock()
    uploads.clock = lambda: now + TOMBSTONE_S
    send(site)


def test_a_report_that_a_full_disk_refuses_is_a_507(
    site: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", _refusing(errno.ENOSPC))
    answer = site.post("/tiny/images/3/report", data={"reason": "other"})
    assert answer.status_code == 507
