"""Filters from a query: what is accepted, what a blank means, and what is left out of addresses."""

import pytest
from starlette.testclient import TestClient

from app.params.filters import Filters


def test_a_blank_filter_is_one_that_was_not_set(site: TestClient) -> None:
    blanks = "min_images=&max_images=&min_density=&max_density=%20&min_clarity=&max_clarity=&name=%20"
    assert site.get(f"/api/v1/tiny/1?{blanks}").json() == site.get("/api/v1/tiny/1").json()


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        ("min_images=-1", "Expected a whole number"),
        ("max_images=1_0", "Expected a whole number"),
        ("min_density=2", "Expected a number from 0 to 1"),
        ("max_density=nan", "Expected a number from 0 to 1"),
        ("min_clarity=-1.5", "Expected a number from -1 to 1"),
        ("max_clarity=0_1", "Expected a number from -1 to 1"),
        ("max_clarity=high", "Expected a number from -1 to 1"),
        (f"name={'a' * 81}", "Expected at most 80 letters"),
    ],
)
def test_a_bad_filter_is_refused_by_name(site: TestClient, query: str, accepted: str) -> None:
    for address in (f"/tiny/1?{query}", f"/api/v1/tiny/1?{query}"):
        answer = site.get(address, headers={"Accept": "application/json"})
        assert answer.status_code == 422
        name, _, value = query.partition("=")
        assert answer.json()["detail"].startswith(f"Invalid {name} '{value[:80]}'. ")
        assert accepted in answer.json()["detail"]


def test_only_what_differs_from_the_default_stands_in_an_address() -> None:
    assert set(Filters().query().values()) == {None}
    assert Filters(min_images=1, name="red").query()["min_images"] == 1


def test_names_and_clarities_ask_for_a_described_index() -> None:
    assert Filters(name="red").ask_for_descriptions
    assert Filters(min_clarity=-1.0).ask_for_descriptions
    assert not Filters(min_images=0, max_density=0.5).ask_for_descriptions
