"""Comparison: any features side by side, the images they share, and a note, all in one link."""

import re

import pytest
from starlette.testclient import TestClient

from scopeview.slots import Slot
from tests.app.index import NEVER_FIRES, SmallIndex

API = "/api/v1/tiny/compare"


def nine(small_index: SmallIndex, slot: Slot, feature: int) -> list[int]:
    column = small_index.dense[slot][:, feature]
    firing = [at for at in range(len(column)) if column[at] > 0]
    return sorted(firing, key=lambda at: (-column[at], at))[:9]


def test_shared_images_are_those_among_the_nine_of_both(site: TestClient, small_index: SmallIndex) -> None:
    found = site.get(f"{API}?features=1:0,3:1,1:2:any&token=137").json()
    slots = [(Slot(1, "137"), 0), (Slot(3, "137"), 1), (Slot(1, "any"), 2)]
    tops = [nine(small_index, *each) for each in slots]
    assert [each["image_ids"] for each in found["features"]] == tops
    assert [(each["layer"], each["token"], each["feature"]) for each in found["features"]] == [
        (1, "137", 0),
        (3, "137", 1),
        (1, "any", 2),
    ]
    for pair in found["pairs"]:
        one, other = tops[pair["one"]], tops[pair["other"]]
        assert pair["image_ids"] == [at for at in one if at in other]
        assert pair["n_compared"] == 9
    assert [(pair["one"], pair["other"]) for pair in found["pairs"]] == [(0, 1), (0, 2), (1, 2)]


def test_page_and_json_say_the_same(site: TestClient) -> None:
    query = "features=1:0,1:1,3:0,embed:2"
    found, html = site.get(f"{API}?{query}").json(), site.get(f"/tiny/compare?{query}").text
    shown = [url.replace("&amp;", "&") for url in re.findall(r'<h3><a href="([^"]+)"', html)]
    assert shown == [each["url"] for each in found["features"]]
    counts = re.findall(r'<data value="([0-9]+)">[0-9]+</data> <span class="quiet">of', html)
    shared = {(pair["one"], pair["other"]): len(pair["image_ids"]) for pair in found["pairs"]}
    rows = [[shared[min(i, j), max(i, j)] for j in range(4) if i != j] for i in range(4)]
    assert [int(count) for count in counts] == [count for row in rows for count in row]


def test_a_feature_compared_with_itself_at_another_token_is_two(site: TestClient) -> None:
    found = site.get(f"{API}?features=1:0,1:0:any,1:0").json()
    assert [(each["feature"], each["token"]) for each in found["features"]] == [(0, "cls"), (0, "any")]


def test_the_switch_moves_those_without_a_token_of_their_own(site: TestClient) -> None:
    html = site.get("/tiny/compare?features=1:0,3:1:any&token=137&note=why").text
    assert 'href="/tiny/compare?features=1:0,3:1:any&amp;token=cls&amp;note=why"' in html


def test_one_more_is_added_and_any_is_removed_by_a_link(site: TestClient) -> None:
    added = site.get("/tiny/compare?features=1:0&add=3:4&note=n")
    assert (added.status_code, added.headers["location"]) == (
        302,
        "/tiny/compare?features=1:0,3:4&note=n",
    )
    html = site.get(added.headers["location"]).text
    assert 'href="/tiny/compare?features=3:4&amp;note=n">remove</a>' in html
    first = site.get("/tiny/compare?add=3:4")
    assert first.headers["location"] == "/tiny/compare?features=3:4"
    assert "Add at least one more" in site.get(first.headers["location"]).text


def test_a_note_is_words_and_never_markup(site: TestClient) -> None:
    note = "<script>alert(1)</script> {{ 7 * 7 }}"
    answer = site.get("/tiny/compare", params={"features": "1:0,1:1", "note": note})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }}" in answer.text
    assert site.get(API, params={"features": "1:0", "note": note}).json()["note"] == note


def test_what_never_fires_is_compared_too(site: TestClient) -> None:
    query = f"features=1:{NEVER_FIRES},1:0"
    (pair,) = site.get(f"{API}?{query}").json()["pairs"]
    assert (pair["image_ids"], pair["n_compared"]) == ([], 0)
    html = site.get(f"/tiny/compare?{query}").text
    assert "never fires" in html
    assert "No two of these features share a top image" in html


def test_nothing_to_compare_yet_shows_how_to_begin(site: TestClient) -> None:
    assert "Start with one" in site.get("/tiny/compare").text
    assert site.get(API).status_code == 422


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        ("features=1", "layer:feature"),
        ("features=1:x", "layer:feature"),
        ("features=1:0:cls:1", "layer:feature"),
        ("features=,", "1 to 12"),
        (f"features={','.join(f'1:{i}' for i in range(13))}", "1 to 12"),
        ("features=2:0", "1, 3 or embed"),
        ("features=1:96", "0 to 95"),
        ("features=1:0:9", "cls, 137 or any"),
        ("features=1:0&token=9", "cls, 137 or any"),
        (f"features=1:0&note={'a' * 501}", "at most 500"),
    ],
)
def test_a_bad_value_is_a_422_that_names_what_is_accepted(
    site: TestClient, query: str, accepted: str
) -> None:
    for address in (f"/tiny/compare?{query}", f"{API}?{query}"):
        answer = site.get(address)
        assert answer.status_code == 422
        assert accepted in answer.text
