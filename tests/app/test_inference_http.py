"""The inference worker seen from outside: batches, memory, readiness, and a device that fails."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from scopeview.analysis.decomposition import Decomposition
from tests.app.conftest import StartSite
from tests.app.encoder import FakeEncoder
from tests.app.sample_images import API, form, sample_image


def worker_of(site: TestClient) -> Any:
    return site.app.state.site.worker  # type: ignore[attr-defined]


def test_the_same_image_sent_twice_is_decomposed_once(site: TestClient, encoder: FakeEncoder) -> None:
    one, other = (site.post(API, files=form(sample_image(kind))).json() for kind in ("PNG", "WEBP"))
    lossless = site.post(API, files=form(sample_image("PNG"))).json()
    assert one["codes"] == lossless["codes"]
    assert one["url"] != lossless["url"]
    assert len(encoder.batches) <= 2  # WebP may be a shade off
    assert other["codes"]


def test_uploads_that_come_together_go_through_the_model_together(
    start_site: StartSite, encoder: FakeEncoder
) -> None:
    encoder.gate = threading.Event()
    site = start_site(upload_batch=8)
    worker = worker_of(site)
    sent = [sample_image(size=(40 + at, 30)) for at in range(7)]
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(site.post, API, files=form(sample_image("JPEG", size=(90, 90))))
        while not encoder.batches:
            threading.Event().wait(0.005)
        others = [pool.submit(site.post, API, files=form(data)) for data in sent[:6]]
        while worker._jobs.qsize() < 6:
            threading.Event().wait(0.005)
        encoder.gate.set()
        assert [each.result().status_code for each in [first, *others]] == [201] * 7
    assert encoder.batches[0] == 1
    assert len(encoder.batches) == 2


@pytest.mark.parametrize(("load", "ready"), [("start", "loaded"), ("lazy", "not loaded yet")])
def test_models_are_loaded_at_the_start_or_at_the_first_upload(
    start_site: StartSite, load: str, ready: str
) -> None:
    loaded = list[Path]()

    def factory(index_dir: Path) -> FakeEncoder:
        loaded.append(index_dir)
        return FakeEncoder()

    site = start_site(factory=factory, encoder_load=load)
    if load == "start":
        while not worker_of(site).is_loaded(loaded[0] if loaded else Path()):
            threading.Event().wait(0.005)
    body = site.get("/readyz").json()
    assert (body["ready"], body["encoder"]["tiny"]) == (True, ready)
    assert list(body["loaded"]) == (["tiny"] if load == "start" else [])
    for _ in range(2):
        assert site.post(API, files=form(sample_image())).status_code == 201
    assert len(loaded) == 1
    assert site.get("/readyz").json()["loaded"]["tiny"]["model"] == "example/tiny-clip"


class Failing(FakeEncoder):
    def decompose(self, *_: object, **__: object) -> list[Decomposition]:
        raise RuntimeError("CUDA error: device-side assert triggered")


def test_when_the_device_fails_browsing_goes_on_and_uploads_come_back(start_site: StartSite) -> None:
    loaded = [Failing(), FakeEncoder()]
    site = start_site(factory=lambda _: loaded.pop(0))
    answer = site.post(API, files=form(sample_image()))
    assert (answer.status_code, answer.json()["error"]) == (503, "device_failed")
    assert int(answer.headers["retry-after"]) > 0
    assert "CUDA" not in answer.text
    for address in ("/", "/tiny", "/tiny/1/0", "/tiny/images/3", "/api/v1/tiny/1/0", "/tiny/uploads"):
        assert site.get(address).status_code == 200, address
    assert site.post(API, files=form(sample_image())).status_code == 201


def test_while_the_device_is_gone_uploads_are_503_and_then_taken_again(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = True

    def factory(_: Path) -> FakeEncoder:
        if gone:
            raise RuntimeError("no CUDA-capable device is detected")
        return FakeEncoder()

    site = start_site(factory=factory)
    for _ in range(3):
        answer = site.post(API, files=form(sample_image()))
        assert (answer.status_code, answer.json()["error"]) == (503, "encoder_absent")
        assert int(answer.headers["retry-after"]) > 0
    assert site.get("/tiny/1/0").status_code == 200
    assert "could not be loaded" in site.get("/readyz").json()["encoder"]["tiny"]
    gone, later = False, time.monotonic() + 61
    monkeypatch.setattr("app.engine.lazy_models.time.monotonic", lambda: later)
    assert site.post(API, files=form(sample_image())).status_code == 201


def test_nothing_is_kept_of_an_upload_that_the_device_failed(start_site: StartSite, upload_dir: Path) -> None:
    site = start_site(factory=lambda _: Failing())
    assert site.post(API, files=form(sample_image())).status_code == 503
    assert list(upload_dir.iterdir()) == []
