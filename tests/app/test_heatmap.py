"""Heat over HTTP: the right numbers, the right refusals, and no second forward pass."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.engine.worker import TooSlowError
from scopeview.errors import ModelError
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.encoder import FakeEncoder
from tests.app.index import N_FEATURES, N_IMAGES, SmallIndex

HEAT = "/api/v1/tiny/3/0/heat"


def mean_of(site: TestClient, encoder: FakeEncoder, image_id: int) -> int:
    """Of the image's colour: what the stand-in's features follow from."""
    from app.services.images import decode_square

    return int(encoder.crop(decode_square(site.get(f"/tiny/thumbs/{image_id}.webp").content)).mean())


def test_heat_is_told_for_each_image_in_the_order_asked_for(
    site: TestClient, small_index: SmallIndex, encoder: FakeEncoder
) -> None:
    """At CLS, at token 137 and at the place of the maximum it is what the index has."""
    feature = mean_of(site, encoder, 7) % 6
    body = site.get(f"/api/v1/tiny/3/{feature}/heat?images=7,2,7").json()
    assert (body["index"], body["layer"], body["feature"]) == ("tiny", 3, feature)
    assert [heat["image_id"] for heat in body["heats"]] == [7, 2]
    first = body["heats"][0]
    at_cls, at_137, anywhere = (
        float(small_index.dense[Slot(3, token)][7, feature]) for token in ("cls", "137", "any")
    )
    expected = {136: at_137, (7 * 7 + feature) % 257 - 1: anywhere}
    assert (first["cls"], len(first["patches"])) == (at_cls, 256)
    assert {at: value for at, value in enumerate(first["patches"]) if value} == {
        at: value for at, value in expected.items() if value
    }
    assert body["stored"] == ["cls", "137", "any"]


def test_another_feature_of_the_same_images_costs_no_forward_pass(
    site: TestClient, encoder: FakeEncoder
) -> None:
    for feature in range(4):
        assert site.get(f"/api/v1/tiny/3/{feature}/heat?images=1,2,3").status_code == 200
    assert sum(encoder.batches) == 3
    site.get("/api/v1/tiny/3/0/heat?images=3,4")
    site.get("/api/v1/tiny/1/0/heat?images=3,4")
    assert sum(encoder.batches) == 6


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/none/3/0/heat?images=1",
        "/api/v1/tiny/2/0/heat?images=1",
        f"/api/v1/tiny/3/{N_FEATURES}/heat?images=1",
        f"{HEAT}?images=1,{N_IMAGES}",
        "/api/v1/tiny/3/+1/heat?images=1",
    ],
)
def test_what_there_is_not_is_a_404(site: TestClient, encoder: FakeEncoder, address: str) -> None:
    answer = site.get(address)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert encoder.batches == []


@pytest.mark.parametrize(
    "query",
    ["", "?images=", "?images=1,", "?images=-1", "?images=a", "?images=" + ",".join(map(str, range(25)))],
)
def test_a_list_that_is_none_is_a_422(site: TestClient, query: str) -> None:
    answer = site.get(HEAT + query)
    assert (answer.status_code, answer.json()["error"]) == (422, "unprocessable")


def test_the_embedding_has_no_patches(site: TestClient) -> None:
    answer = site.get("/api/v1/tiny/embed/0/heat?images=1")
    assert answer.status_code == 422
    assert "has no patches" in answer.json()["detail"]


def test_without_an_encoder_heat_says_why_and_when_to_come_back(start_site: StartSite) -> None:
    def absent(_: Path) -> FakeEncoder:
        raise ModelError("/srv/secret/model has no weights")

    site = start_site(factory=absent)
    for _ in range(2):
        answer = site.get(HEAT + "?images=1")
        assert (answer.status_code, answer.json()["error"]) == (503, "encoder_absent")
        assert answer.headers["retry-after"]
        assert "/srv" not in answer.text


def test_a_busy_worker_says_when_to_come_back(site: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.app.state.site.worker, "_max_waiting", 0)  # type: ignore[attr-defined]
    answer = site.get(HEAT + "?images=1")
    assert (answer.status_code, answer.json()["error"]) == (503, "busy")
    assert answer.headers["retry-after"]


def test_heat_that_takes_too_long_is_given_up(start_site: StartSite, encoder: FakeEncoder) -> None:
    import threading

    encoder.gate = threading.Event()
    site = start_site(upload_deadline_s=0.05)
    answer = site.get(HEAT + "?images=1")
    encoder.gate.set()
    assert answer.json()["error"] == TooSlowError().answer.error
    assert answer.status_code == 503


def test_what_is_loaded_is_told(site: TestClient) -> None:
    site.get(HEAT + "?images=1")
    ready = site.get("/readyz").json()
    assert ready["encoder"] == {"tiny": "loaded"}
    assert ready["loaded"]["tiny"]["model"] == "example/tiny-clip"
