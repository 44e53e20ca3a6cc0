"""How many images one client may send: a burst is let through, a flood is told when to come back."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.uploads.rate_limit import UploadRate
from app.web.client_address import counted
from app.web.errors import ProblemError
from tests.app.conftest import StartSite
from tests.app.sample_images import API, BROWSER, FORM, form, sample_image
from tests.clock import Clock


def wait_s(rate: UploadRate, client: str) -> int | None:
    """None where it is let through."""
    answer = None
    try:
        rate.refuse_too_many(client)
    except ProblemError as error:
        answer = error.answer
    if answer is None:
        return None
    assert (answer.status, answer.error) == (429, "too_many_uploads")
    return int(answer.headers["Retry-After"])


def test_a_burst_is_let_through_and_then_a_client_waits_as_long_as_it_is_told(upload_clock: Clock) -> None:
    rate = UploadRate(30)
    assert [wait_s(rate, "one") for _ in range(30)] == [None] * 30
    assert wait_s(rate, "another") is None
    upload_clock.now_s += 18
    waits = list[int]()
    while (wait := wait_s(rate, "one")) is not None:
        waits.append(wait)
        upload_clock.now_s += wait
    assert waits[0] == 42
    assert sum(waits) <= 42 + 2
    assert len(waits) <= 2


def test_over_a_long_time_no_more_get_through_than_the_limit(upload_clock: Clock) -> None:
    rate, taken = UploadRate(30), 0
    for _ in range(1200):
        taken += wait_s(rate, "one") is None
        upload_clock.now_s += 0.5
    assert 10 * 30 <= taken <= 11 * 30


def test_clients_that_come_once_are_forgotten(upload_clock: Clock) -> None:
    rate = UploadRate(30)
    storage: Any = rate._limiter.storage
    for number in range(500):
        wait_s(rate, f"client {number}")
    storage.timer.join()
    upload_clock.now_s += 600
    wait_s(rate, "the last")
    storage.timer.join()
    assert len(storage.storage) == 1


@pytest.mark.usefixtures("upload_clock")
def test_zero_switches_it_off() -> None:
    rate = UploadRate(0)
    assert [wait_s(rate, "one") for _ in range(200)] == [None] * 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_ipv6_client_is_its_network_since_it_may_choose_the_rest(host: str, expected: str) -> None:
    assert counted(host) == expected


@pytest.mark.parametrize("address", [API, FORM, "/tiny/search"])
def test_one_too_many_is_a_429_wherever_an_image_is_sent(
    start_site: StartSite, upload_clock: Clock, address: str
) -> None:
    site = start_site(uploads_per_minute=2)
    upload_clock.now_s += 20
    statuses = [site.post(address, files=form(sample_image())).status_code for _ in range(3)]
    assert statuses == [201, 201, 429]
    answer = site.post(address, files=form(sample_image()), headers={"Accept": "application/json"})
    assert answer.headers["retry-after"] == "40"
    assert answer.json() == {
        "error": "too_many_uploads",
        "detail": "The limit is 2 images a minute from one address. Try again in 40 seconds.",
    }
    metrics = site.get("/metrics").text
    assert 'scopeview_uploads_total{outcome="too_many_uploads"} 2.0' in metrics


def test_a_browser_gets_a_page_that_says_so(start_site: StartSite, upload_clock: Clock) -> None:
    site = start_site(uploads_per_minute=1)
    upload_clock.now_s += 15
    for _ in range(2):
        answer = site.post(FORM, files=form(sample_image()), headers=BROWSER)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "45")
    assert "Too many requests" in answer.text
    assert "The limit is 1 image a minute" in answer.text


@pytest.mark.usefixtures("upload_clock")
def test_behind_a_trusted_proxy_each_visitor_is_counted_alone(start_site: StartSite) -> None:
    plain = start_site(uploads_per_minute=1)
    trusting: Any = ProxyHeadersMiddleware(plain.app, trusted_hosts="testclient")  # type: ignore[arg-type]

    def status(site: TestClient, visitor: str) -> int:
        sent = site.post(API, files=form(sample_image()), headers={"X-Forwarded-For": visitor})
        return sent.status_code

    site = TestClient(trusting)
    visitors = ["203.0.113.7", "203.0.113.8", "203.0.113.7", "198.51.100.1, 203.0.113.8"]
    assert [status(site, visitor) for visitor in visitors] == [201, 201, 429, 429]
    assert [status(plain, visitor) for visitor in visitors] == [201, 429, 429, 429]
