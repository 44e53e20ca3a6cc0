"""The feature map's page: what it hands to its script, what works without one, and its fragments."""

import html
import re

import pytest
from starlette.testclient import TestClient

from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.described_index import active, told, write_described_index
from tests.app.index import SmallIndex

SLOT = Slot(1, "any")


@pytest.fixture(scope="module")
def told_index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_described_index(tmp_path_factory.mktemp("map") / "told")


@pytest.fixture
def told_site(start_site: StartSite, told_index: SmallIndex) -> TestClient:
    return start_site(index_dirs=[told_index.index_dir])


def features_on(page: str) -> list[int]:
    return [int(at) for at in re.findall(r"<h3><a href=\"/told/1/([0-9]+)\?", page)]


def test_a_search_lists_the_best_named_and_tells_the_script_where_all_are(
    told_site: TestClient, told_index: SmallIndex
) -> None:
    page = told_site.get("/told/1/map?token=any&name=blue").text
    named = [at for at in active(told_index, SLOT) if "blue" in " ".join(told(SLOT, at).names).lower()]
    best = sorted(named, key=lambda at: (-told(SLOT, at).scores[0], at))
    assert features_on(page) == best[:12]
    assert f'<data value="{len(named)}">' in page
    lit = re.search(r'<feature-matches data-url="([^"]+)"', page)
    assert lit
    assert told_site.get(html.unescape(lit[1])).json()["feature"] == named


def test_typing_replaces_the_address_and_the_list_alone(told_site: TestClient) -> None:
    headers = {"HX-Request": "true", "HX-Target": "found"}
    answer = told_site.get("/told/1/map?token=any&name=red&color=density", headers=headers)
    assert answer.headers["hx-replace-url"] == "/told/1/map?token=any&name=red"
    assert answer.text.strip().startswith('<section id="found"')
    assert "<form" not in answer.text


def test_the_card_of_a_point_comes_alone(told_site: TestClient) -> None:
    headers = {"HX-Request": "true", "HX-Target": "point"}
    answer = told_site.get("/told/1/map?token=any&feature=4", headers=headers)
    assert answer.text.strip().startswith('<article class="feature">')
    assert features_on(answer.text) == [4]
    assert "hx-replace-url" not in answer.headers


def test_the_marked_feature_is_in_the_address_and_on_the_page(told_site: TestClient) -> None:
    page = told_site.get("/told/1/map?token=any&feature=4").text
    assert 'data-feature="4"' in page
    assert features_on(page.split('class="cards small without-script"')[1]) == [4]


def test_another_token_keeps_the_search_and_drops_the_marked_feature(told_site: TestClient) -> None:
    page = html.unescape(told_site.get("/told/1/map?token=any&name=red&color=clarity&feature=4").text)
    assert 'href="/told/1/map?token=cls&name=red&color=clarity"' in page
    assert 'href="/told/3/map?token=any&name=red&color=clarity"' in page


def test_without_a_script_the_map_says_so_and_leads_to_the_gallery(told_site: TestClient) -> None:
    page = told_site.get("/told/1/map?token=any").text
    assert re.search(r'<p class="empty without-script">[^<]*<a href="/told/1\?token=any">gallery</a>', page)


def test_an_index_that_was_not_described_has_no_map_and_says_why(site: TestClient) -> None:
    page = site.get("/tiny/1/map").text
    assert "it was not computed for this index" in page
    assert "feature-map" not in page
    assert "uplot" not in page


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("feature=96", "Invalid feature '96'. Expected 0 to 95."),
        ("color=red", "Invalid color 'red'. Expected density, clarity, name_score or selectivity."),
        ("feature=x", "Invalid feature 'x'. Expected a whole number: 0, 1, 2, ..."),
    ],
)
def test_what_the_map_cannot_show_is_refused_by_name(told_site: TestClient, query: str, detail: str) -> None:
    answer = told_site.get(f"/told/1/map?{query}", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


def test_selectivity_is_offered_where_there_is_any(told_site: TestClient) -> None:
    assert '<option value="selectivity"' in told_site.get("/told/1/map").text
