"""The feature page: folding, tokens side by side, what is missing, what failed, what is dead, frames."""

import re
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.moderation.reader import ModeratedReader
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.descriptions import NAMES, describe, made_up
from tests.app.index import FEW_IMAGES, HOSTILE_CAPTIONS, N_IMAGES, NEVER_FIRES, SmallIndex
from tests.app.tree import Node, tree

SLOT = Slot(1, "cls")


@pytest.fixture
def described(site: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    describe(monkeypatch, small_index)
    return site


def folding(monkeypatch: pytest.MonkeyPatch, small_index: SmallIndex, folds: list[int]) -> None:
    """Feature 0 of layer 1 has these folds."""
    whole = replace(made_up(small_index, SLOT, 0), folds=folds)
    monkeypatch.setattr(ModeratedReader, "description", lambda *_: whole)


def test_near_duplicates_are_folded_into_the_first_of_them(
    site: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding(monkeypatch, small_index, [1, 1, 2, 4, 1, *range(6, 21)])
    page = tree(site.get("/tiny/1/0").text)
    first, fourth = page.one("li", element_id="rank-1"), page.one("li", element_id="rank-4")
    assert [each.text for each in first.all(cls="rank")] == ["1", "2", "3", "5"]
    assert first.one("summary").text == "+ 3 near-duplicates"
    assert fourth.all("details") == []
    grid = page.one("ol", cls="big-grid")
    assert ranks(grid) == [1, 4, 6, 7, 8, 9, 10, 11, 12]
    assert [each.text for each in grid.all(cls="near-duplicates-badge")] == ["+ 3 near-duplicates"]


def test_near_duplicates_are_shown_each_when_asked_for(
    site: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    folding(monkeypatch, small_index, [1, 1, 1, *range(4, 21)])
    page = tree(site.get("/tiny/1/0?alike=show").text)
    assert ranks(page.one("ol", cls="big-grid")) == list(range(1, 10))
    assert page.all(cls="near-duplicates-badge") == []
    back = page.one(element_id="images").one("h2").one("a")
    assert (back.text, back.attributes["href"]) == ("collapse", "/tiny/1/0?token=cls")


def ranks(part: Node) -> list[int]:
    return [int(each.attributes["data-rank"]) for each in part.all("li")]


def test_shared_images_are_outlined_where_they_stand_in_the_other_grid(
    site: TestClient, small_index: SmallIndex
) -> None:
    page = tree(site.get("/tiny/1/0?token=any").text)
    here = highest(small_index, Slot(1, "any"))
    there = highest(small_index, SLOT)
    item = page.one("ul", cls="tokens").all("li")[0]
    shared = [place for place, image_id in enumerate(there) if image_id in here]
    assert item.one(cls="shared").text == f"{len(shared)} of 9"
    drawn = [(float(each.attributes["x"]), float(each.attributes["y"])) for each in item.all("rect")]
    assert [int(x) + 3 * int(y) for x, y in drawn] == shared


def highest(small_index: SmallIndex, slot: Slot) -> list[int]:
    column = small_index.dense[slot][:, 0]
    return sorted(range(N_IMAGES), key=lambda image_id: (-column[image_id], image_id))[:9]


def test_neighbors_are_told_when_asked_for(described: TestClient) -> None:
    page = tree(described.get("/tiny/1/0?token=cls&page=2&alike=show").text)
    assert page.all(element_id="neighbors") == page.all(element_id="across-layers") == []
    asked = page.one(element_id="near").attributes["hx-get"]
    assert page.one(element_id="near").one("a").attributes["href"] == f"{asked}#near"
    piece = described.get(asked, headers={"HX-Request": "true", "HX-Target": "near"}).text
    assert piece.lstrip().startswith('<div id="near">')
    whole = tree(described.get(asked).text).one(element_id="near")
    assert tree(piece).one(element_id="near").text == whole.text
    assert "hx-get" not in whole.attributes
    assert whole.one(element_id="neighbors").all("article")
    assert described.get("/tiny/1/0?near=2").status_code == 422


def test_a_feature_that_nothing_resembles_promises_nothing(
    described: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made_up(small_index, SLOT, 0)
    alone = replace(whole, within=[], across=[replace(each, layer=99) for each in whole.across])
    monkeypatch.setattr(ModeratedReader, "description", lambda *_: alone)
    assert tree(described.get("/tiny/1/0").text).all(element_id="near") == []


def test_an_index_without_descriptions_says_what_is_missing_and_why(site: TestClient) -> None:
    page = tree(site.get("/tiny/1/0").text)
    assert "were not computed for this index" in page.one(element_id="metrics").text
    assert "were not computed for this index" in page.one(element_id="positions").text
    assert page.all(element_id="near") == []
    assert tree(site.get("/tiny/1/0?near=1").text).all(element_id="near") == []
    embedding = tree(site.get("/tiny/embed/0").text)
    assert "without patches" in embedding.one(element_id="positions").text
    assert "the embedding is one vector" in embedding.text


def test_a_failed_computation_is_told_and_is_no_number(
    site: TestClient, small_index: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(made_up(small_index, SLOT, 0), clarity=float("nan"), label_entropy=float("inf"))
    monkeypatch.setattr(ModeratedReader, "description", lambda *_: whole)
    page = tree(site.get("/tiny/1/0").text)
    for key in ("clarity", "label_entropy"):
        assert page.one("dd", cls=key).text == "could not be computed"
    answer = site.get("/api/v1/tiny/1/0").json()["description"]
    assert (answer["clarity"], answer["failed"]) == (None, ["clarity", "label_entropy"])


def test_a_dead_feature_says_so_and_points_to_live_ones(described: TestClient) -> None:
    page = tree(described.get(f"/tiny/1/{NEVER_FIRES}").text)
    assert "never fires" in page.one(element_id="dead").text
    near = page.one(element_id="nearest").all("h3")
    assert [each.text for each in near] == [f"L1 · {NEVER_FIRES - 1}", f"L1 · {NEVER_FIRES + 1}"]
    assert "No heatmap" not in page.text


def test_the_state_of_the_page_is_kept_from_feature_to_feature(site: TestClient) -> None:
    page = tree(site.get("/tiny/1/3?scale=linear&alike=show").text)
    links = [each.attributes["href"] for each in page.one(cls="steps").all("a", cls="")]
    assert "/tiny/1/4?token=cls&scale=linear&alike=show" in links
    rail = [each.attributes["href"] for each in page.one("nav", cls="rail").all("a")]
    assert "/tiny/3/3?token=cls&scale=linear&alike=show" in rail
    current = [each.text for each in page.one(cls="scales").all("a") if "aria-current" in each.attributes]
    assert current == ["linear"]


@pytest.mark.parametrize(
    ("query", "accepted"),
    [("scale=square", "'log' or 'linear'"), ("alike=hide", "'fold' or 'show'"), ("embed=yes", "'0' or '1'")],
)
def test_a_bad_value_is_a_422_that_names_what_is_accepted(
    site: TestClient, query: str, accepted: str
) -> None:
    answer = site.get(f"/tiny/1/0?{query}")
    assert answer.status_code == 422
    assert accepted in answer.text.replace("&#39;", "'")


def test_only_the_embedded_view_may_be_framed_by_other_sites(described: TestClient) -> None:
    embedded, whole = described.get("/tiny/1/0?embed=1"), described.get("/tiny/1/0")
    assert "frame-ancestors *" in embedded.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in whole.headers["content-security-policy"]
    rest = [each.headers["content-security-policy"].rpartition(";")[0] for each in (embedded, whole)]
    assert rest[0] == rest[1]
    page = tree(embedded.text)
    assert page.all("header") == page.all("footer") == page.all("script") == page.all("form") == []
    assert len(page.one("ol", cls="big-grid").all("img")) == 9
    assert page.one(element_id="provenance").text == tree(whole.text).one(element_id="provenance").text


def test_what_is_copied_leads_back_here(site: TestClient, start_site: StartSite) -> None:
    page = tree(site.get("/tiny/1/0?token=137").text)
    frame = tree(page.one("pre", element_id="embed").text).one("iframe").attributes
    assert frame["src"] == "http://testserver/tiny/1/0?token=137&embed=1"
    assert site.get(frame["src"].removeprefix("http://testserver")).status_code == 200
    cited = page.one("pre", element_id="cite").text
    assert r"\url{http://testserver/tiny/1/0?token=137}" in cited
    assert r"sets/<hostile> \& sons" in cited
    named = start_site(base_url="https://scope.example")
    assert "https://scope.example/tiny/1/0" in named.get("/tiny/1/0").text


def test_other_peoples_words_do_no_harm_on_any_part_of_the_page(described: TestClient) -> None:
    seen = set[str]()
    for feature in (0, 1, 2, 3, FEW_IMAGES):
        address = f"/tiny/1/{feature}?token=any"
        answers = [described.get(address), described.get(f"{address}&embed=1")]
        assert [answer.status_code for answer in answers] == [200, 200]
        html = "".join(answer.text for answer in answers)
        for node in tree(html).all():
            assert node.tag not in {"b", "style"}
            assert not any(re.match("on|style|srcdoc", name) for name in node.attributes), node.attributes
            assert node.tag != "script" or node.attributes["src"].startswith("/static/")
            for name in {"href", "src", "action"} & node.attributes.keys():
                assert urlsplit(node.attributes[name]).scheme in ("", "http", "https")
        seen.update(each.text for each in tree(html).all("p", cls="caption") if "dir" in each.attributes)
        seen.update(each.text for each in tree(html).all(cls="name"))
    shown = "\n".join(seen)
    assert all(" ".join(words.split())[:100] in shown for words in [*HOSTILE_CAPTIONS, *NAMES])
    assert "long long" in shown
    assert len(max(seen, key=len)) < 150


@pytest.mark.parametrize("feature", [0, NEVER_FIRES])
def test_every_feature_that_a_page_leads_to_keeps_the_image(described: TestClient, feature: int) -> None:
    address = f"/tiny/1/{feature}?token=137"
    for image in ("", "&image=9"):
        html = described.get(f"{address}&near=1{image}").text.replace("&amp;", "&")
        found = re.findall(r'href="(/tiny/(?:[0-9]+|embed)/[0-9]+\?[^"]*)"', html.split("<main")[1])
        leads = {url for url in found if url != address}  # the page itself, as others are to see it
        assert len(leads) > (3 if feature == NEVER_FIRES else 12)
        assert all(url.count("image=9") == bool(image) for url in leads), leads


def test_a_feature_that_is_silent_at_one_token_is_not_said_to_have_nothing_to_show(
    described: TestClient, small_index: SmallIndex
) -> None:
    n_cls, n_any = (np.count_nonzero(small_index.dense[Slot(1, token)], axis=0) for token in ("cls", "any"))
    feature = int(np.flatnonzero((n_cls == 0) & (n_any > 0))[0])
    dead = tree(described.get(f"/tiny/1/{feature}").text).one(element_id="dead").text
    assert "never fires at CLS" in dead
    assert "at any token on" in dead
    assert "any other indexed token" not in dead
    nowhere = tree(described.get(f"/tiny/1/{NEVER_FIRES}").text).one(element_id="dead").text
    assert "any other indexed token" in nowhere


def test_figures_of_one_page_say_which_tokens_they_count(described: TestClient) -> None:
    record = described.get("/api/v1/tiny/1/0").json()
    page = tree(described.get("/tiny/1/0").text)
    at_any = sum(record["positions"]["counts"]) + record["positions"]["at_cls"]
    words = page.one(element_id="positions-tokens").text
    assert f"at any token on {at_any} images" in words
    assert f"at CLS (the token of this page) on {record['n_active']}" in words
    assert "maximum at CLS" in page.one(element_id="metrics").text
    assert page.one("heatmap-panel").attributes["data-highest-at"] == "any token"
    assert "Activations at CLS" in page.one(element_id="histogram").text
    assert tree(described.get("/tiny/1/0?token=any").text).all(element_id="positions-tokens") == []
