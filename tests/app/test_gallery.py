"""The gallery: orders, filters, pages that grow, and the same answers as JSON."""

import gzip
import html
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from starlette.testclient import TestClient

from scopeview.slots import Slot
from scopeview.store.manifest import read_manifest, write_manifest
from tests.app.conftest import StartSite
from tests.app.described_index import WITHOUT_CLARITY, Told, active, told, write_described_index
from tests.app.index import N_IMAGES, SmallIndex, write_index

SLOT = Slot(1, "any")
SCROLLING = {"HX-Request": "true", "HX-Target": "more"}
FILTERING = {"HX-Request": "true", "HX-Target": "results"}


@pytest.fixture(scope="module")
def told_index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_described_index(tmp_path_factory.mktemp("gallery") / "told")


@pytest.fixture
def told_site(start_site: StartSite, told_index: SmallIndex) -> TestClient:
    return start_site(index_dirs=[told_index.index_dir])


def listed(site: TestClient, address: str) -> list[int]:
    """Features on a page, in its order."""
    return [int(at) for at in re.findall(r"<h3><a href=\"/\w+/\w+/([0-9]+)\?", site.get(address).text)]


def in_json(site: TestClient, address: str) -> list[int]:
    found = list[int]()
    url: str | None = f"/api/v1{address}"
    while url:
        answer = site.get(url).json()
        found += [each["feature"] for each in answer["features"]]
        url = answer["next"]
    return found


@pytest.mark.parametrize("sort", ["clarity", "score", "selectivity"])
def test_features_are_ordered_by_what_was_found_out(
    told_site: TestClient, told_index: SmallIndex, sort: str
) -> None:
    def figure(feature: int) -> float:
        of = told(SLOT, feature)
        value = {"clarity": of.clarity, "score": of.scores[0], "selectivity": of.selectivity}[sort]
        return -2.0 if value is None else value

    expected = sorted(active(told_index, SLOT), key=lambda feature: (-figure(feature), feature))
    assert in_json(told_site, f"/told/1?token=any&sort={sort}") == expected
    assert listed(told_site, f"/told/1?token=any&sort={sort}") == expected[:48]


class Candidate(NamedTuple):
    """A feature as a filter sees it."""

    told: Told
    n_active: int

    @property
    def clarity(self) -> float:
        return math.nan if self.told.clarity is None else self.told.clarity


FILTERS: dict[str, Callable[[Candidate], bool]] = {
    "name=BLUE": lambda one: any("blue" in name.lower() for name in one.told.names),
    "name=%3Cb%3E": lambda one: any("<b>" in name for name in one.told.names),
    "min_clarity=0.5": lambda one: one.clarity >= 0.5,
    "max_clarity=0.5&min_clarity=0.25": lambda one: 0.25 <= one.clarity <= 0.5,
    "min_images=12&max_images=20": lambda one: 12 <= one.n_active <= 20,
    "max_density=0.25": lambda one: one.n_active <= N_IMAGES // 4,
    "min_density=0.25&name=night": lambda one: one.n_active >= N_IMAGES // 4 and "night" in one.told.names,
}


@pytest.mark.parametrize("query", FILTERS)
def test_filters_leave_what_passes_them_all(
    told_site: TestClient, told_index: SmallIndex, query: str
) -> None:
    n_active = (told_index.dense[SLOT] > 0).sum(axis=0)
    candidates = {at: Candidate(told(SLOT, at), n_active[at]) for at in active(told_index, SLOT)}
    expected = [at for at, one in candidates.items() if FILTERS[query](one)]
    address = f"/told/1?token=any&{query}"
    assert in_json(told_site, address) == expected
    assert listed(told_site, address) == expected[:48]
    assert told_site.get(f"/api/v1{address}").json()["n_matching"] == len(expected)


def test_a_name_is_looked_for_letter_by_letter(told_site: TestClient) -> None:
    assert in_json(told_site, "/told/1?token=any&name=%25") == []
    assert in_json(told_site, "/told/1?token=any&name=r_d") == []


def test_a_card_says_what_its_json_says(told_site: TestClient) -> None:
    answer = told_site.get("/api/v1/told/1?token=any").json()
    page = told_site.get("/told/1?token=any").text
    cards = re.findall(r'<article class="feature">.*?</article>', page, re.S)
    for card, each in zip(cards, answer["features"][:48], strict=True):
        of = told(SLOT, each["feature"])
        assert (each["name"], each["name_score"]) == (of.names[0], of.scores[0])
        assert (each["clarity"], each["selectivity"]) == (of.clarity, of.selectivity)
        assert (
            f'class="feature-word" dir="auto" title="{html.escape(of.names[0], quote=False)}, cosine' in card
        )
        assert [float(value) for value in re.findall(r'<data value="([^"]+)"', card)] == [
            each["density"],
            each["max_activation"],
        ]


def test_a_clarity_that_is_unknown_is_null_and_passes_no_range(told_site: TestClient) -> None:
    card = told_site.get("/api/v1/told/1?token=any&limit=10").json()["features"][WITHOUT_CLARITY]
    assert (card["feature"], card["clarity"]) == (WITHOUT_CLARITY, None)
    assert WITHOUT_CLARITY not in in_json(told_site, "/told/1?token=any&min_clarity=-1")


# -- pages ---------------------------------------------------------------------------------------------------


def test_scrolling_adds_the_next_page_and_the_address_names_all_that_is_shown(site: TestClient) -> None:
    first = listed(site, "/tiny/1?min_images=0")
    more = re.search(r'hx-get="([^"]+)"[^>]*>load more here', site.get("/tiny/1?min_images=0").text)
    assert more
    address = html.unescape(more[1])
    added = site.get(address, headers=SCROLLING)
    assert added.headers["hx-replace-url"] == address == "/tiny/1?token=cls&min_images=0&page=2&first=1"
    second = [int(at) for at in re.findall(r"<h3><a href=\"/tiny/1/([0-9]+)\?", added.text)]
    assert len(first) == len(second) == 48
    assert listed(site, address) == first + second


def test_plain_pages_go_on_from_what_is_shown(site: TestClient) -> None:
    page = html.unescape(site.get("/tiny/1?min_images=0&page=2&first=1").text)
    assert "page 1 to 2 of 2" in page
    assert 'rel="next"' not in page
    assert 'rel="prev"' not in page
    alone = html.unescape(site.get("/tiny/1?min_images=0&page=2").text)
    assert 'href="/tiny/1?token=cls&min_images=0" rel="prev"' in alone


@pytest.mark.parametrize("query", ["page=2&first=0", "page=2&first=3", "page=2&first=x", "page=3", "plot=2"])
def test_pages_that_cannot_be_are_refused(site: TestClient, query: str) -> None:
    assert site.get(f"/tiny/1?min_images=0&{query}").status_code == 422


def test_no_more_than_ten_pages_are_shown_as_one(site: TestClient) -> None:
    answer = site.get("/tiny/1?page=12&first=2", headers={"Accept": "application/json"})
    assert answer.json()["detail"] == "Invalid first '2'. Expected 3 to 12 with page=12."


# -- the address is the state --------------------------------------------------------------------------------


def test_filtering_pushes_the_short_address(site: TestClient) -> None:
    query = "token=any&sort=max&min_images=9&max_images=&min_density=&name="
    answer = site.get(f"/tiny/1?{query}", headers=FILTERING)
    assert answer.headers["hx-push-url"] == "/tiny/1?token=any&sort=max"


def test_a_form_sent_with_blanks_is_answered_at_the_short_address(site: TestClient) -> None:
    answer = site.get("/tiny/1?token=any&sort=max&min_images=1&max_images=&name=")
    assert answer.status_code == 302
    assert answer.headers["location"] == "/tiny/1?token=any&sort=max&min_images=1"


def test_a_plain_page_moves_no_address(site: TestClient) -> None:
    restored = site.get("/tiny/1", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    for answer in (site.get("/tiny/1"), restored):
        assert not {"hx-push-url", "hx-replace-url"} & set(answer.headers)


def test_rail_form_and_bars_keep_the_state(told_site: TestClient) -> None:
    page = html.unescape(told_site.get("/told/1?token=any&sort=clarity&name=red&min_clarity=0.3").text)
    assert 'href="/told/3?token=137&' not in page
    assert 'href="/told/3?token=any&sort=clarity&min_clarity=0.3&name=red"' in page
    assert 'name="name" value="red"' in page
    assert 'name="min_clarity" value="0.3"' in page
    assert "min_images=16&max_images=31&min_clarity=0.3&name=red" in page
    assert 'href="/told/1?token=any&sort=clarity">clear filters' in page


def test_the_first_view_brings_no_plot(told_site: TestClient) -> None:
    assert "uplot" not in told_site.get("/told/1").text
    opened = told_site.get("/told/1?plot=1").text
    assert "vendor/uplot-1.6.32.iife.min.js" in opened
    scatter = opened[opened.index('<feature-scatter class="plot"') :].partition(">")[0]
    assert 'data-points="/api/v1/told/1/points.safetensors?token=cls&amp;v=' in scatter


# -- nothing to show -----------------------------------------------------------------------------------------


def test_an_index_without_descriptions_says_why_nothing_has_a_name(site: TestClient) -> None:
    page = site.get("/tiny/1?name=red").text
    assert "were not computed for this index" in page
    assert 'href="/tiny/1?token=cls">show all features</a>' in page
    assert '<option value="clarity"' not in page


def test_an_index_without_a_text_tower_says_why_nothing_has_a_name(
    start_site: StartSite, tmp_path: Path
) -> None:
    index_dir = write_described_index(tmp_path / "mute", slug="mute").index_dir
    manifest = read_manifest(index_dir)
    assert manifest.describe
    mute = manifest.describe.model_copy(update={"vocabulary": None, "without_names": "no text encoder"})
    write_manifest(index_dir, manifest.model_copy(update={"describe": mute}))
    page = start_site(index_dirs=[index_dir]).get("/mute/1?name=nowhere").text
    assert "Features of this index have no names: no text encoder." in page


def test_filters_that_nothing_passes_can_be_cleared(told_site: TestClient) -> None:
    page = told_site.get("/told/1?name=nowhere").text
    assert 'No feature matches these filters. <a href="/told/1?token=cls">clear filters</a>' in page


def test_a_slot_of_rare_features_offers_them(start_site: StartSite, tmp_path: Path) -> None:
    index_dir = write_index(tmp_path / "rare", slug="rare").index_dir
    database = read_manifest(index_dir).database
    with duckdb.connect(str(index_dir / database)) as connection:
        connection.execute("UPDATE features SET n_active = least(n_active, 3) WHERE token = '137'")
        connection.execute("UPDATE features SET n_active = 0 WHERE token = 'any'")
    site = start_site(index_dirs=[index_dir])
    rare, dead = site.get("/rare/1?token=137").text, site.get("/rare/1?token=any").text
    assert "No feature fires on nine images or more at L1 · 137." in rare
    assert re.search('href="/rare/1[?]token=137&amp;min_images=1">show the [0-9]+ that fire on fewer', rare)
    assert "No feature fires at L1 · any" in dead


def test_the_first_view_weighs_less_than_a_hundred_kilobytes(told_site: TestClient) -> None:
    """Markup, style and scripts as they are sent, images aside."""
    zipped = {"Accept-Encoding": "gzip"}
    page = told_site.get("/told/1", headers=zipped)
    parts = re.findall(r'(?:<script[^>]*src|rel="stylesheet" href)="([^"]+)"', page.text)
    answers = [page, *(told_site.get(html.unescape(part), headers=zipped) for part in parts)]
    assert len(answers) > 4
    assert {answer.headers["content-encoding"] for answer in answers if len(answer.content) > 1024} == {
        "gzip"
    }
    assert sum(len(gzip.compress(answer.content, 5)) for answer in answers) < 100_000
