"""Search: numbers jump, words and images find, names count, and what cannot be done is said."""

import re
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.moderation.reader import ModeratedReader
from app.params.query_text import MAX_CHARS
from app.services.retrieval import N_NAMED, by_name
from app.state import AppState
from scopeview.errors import ModelError, NoTextError
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import NameMatch
from tests.app.conftest import StartSite
from tests.app.described_index import active, told, write_described_index
from tests.app.index import HOSTILE_CAPTIONS, N_FEATURES, NEVER_FIRES, SmallIndex
from tests.app.sample_images import BROWSER, form, sample_image
from tests.app.tower import FakeTower, FakeVectors, tower_factory

API = "/api/v1"


@pytest.fixture
def tower() -> FakeTower:
    return FakeTower()


@pytest.fixture
def site(start_site: StartSite, tower: FakeTower, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    return with_vectors(start_site(text_factory=tower_factory(tower)), monkeypatch)


def with_vectors(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, *, described: bool = True
) -> TestClient:
    state: AppState = client.app.state.site  # type: ignore[attr-defined]
    vectors = FakeVectors(described=described)
    monkeypatch.setitem(state.indexes["tiny"].reader.__dict__, "search", vectors)
    return client


@pytest.mark.parametrize(
    ("query", "target"),
    [
        ("q=3:5", "/tiny/3/5?token=cls"),
        ("q=L3+%C2%B7+5&token=137", "/tiny/3/5?token=137"),
        ("q=5&near=1&token=any", "/tiny/1/5?token=any"),
        ("q=5&layer=embed", "/tiny/embed/5?token=cls"),
        ("q=embed:5&token=137", "/tiny/embed/5?token=cls"),
    ],
)
def test_the_number_of_a_feature_jumps(site: TestClient, query: str, target: str) -> None:
    answer = site.get(f"/tiny/search?{query}")
    assert (answer.status_code, answer.headers["location"]) == (302, target)
    assert site.get(f"{API}/tiny/search?{query}").json()["jump"] == target
    assert site.get(target).status_code == 200


def test_the_number_of_a_feature_that_is_silent_at_the_token_jumps_to_where_it_fires(
    site: TestClient, small_index: SmallIndex
) -> None:
    fires = {token: small_index.dense[Slot(3, token)].any(axis=0) for token in ("cls", "137", "any")}
    silent_at_cls = int(np.flatnonzero(~fires["cls"] & fires["any"])[0])
    at_137_alone = int(np.flatnonzero(~fires["cls"] & ~fires["any"] & fires["137"])[0])
    for feature, token in ((silent_at_cls, "any"), (at_137_alone, "137"), (NEVER_FIRES, "cls")):
        answer = site.get(f"/tiny/search?q=3:{feature}")
        assert answer.headers["location"] == f"/tiny/3/{feature}?token={token}"
        numbered = site.get(f"{API}/tiny/search?q={feature}").json()["numbered"]
        assert [each["token"] for each in numbered if each["layer"] == 3] == [token]


def test_a_number_of_no_layer_shows_that_feature_of_each(site: TestClient) -> None:
    found = site.get(f"{API}/tiny/search?q=5&token=137").json()
    assert found["jump"] is None
    assert [(each["layer"], each["token"], each["feature"]) for each in found["numbered"]] == [
        (1, "137", 5),
        (3, "137", 5),
        ("embed", "cls", 5),
    ]
    assert "Features with this number" in site.get("/tiny/search?q=5").text


@pytest.mark.parametrize("query", [f"q={N_FEATURES}", f"q=3:{N_FEATURES}", "q=9:5"])
def test_a_number_that_no_layer_has_is_said_to_find_nothing(site: TestClient, query: str) -> None:
    answer = site.get(f"/tiny/search?{query}")
    assert answer.status_code == 200
    assert "No results." in answer.text


def test_words_find_the_nearest_features_of_all_layers_and_the_nearest_images(site: TestClient) -> None:
    found = site.get(f"{API}/tiny/search?q=Red++Heart").json()
    scores = [each["score"] for each in found["features"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 24
    assert {each["layer"] for each in found["features"]} == {1, 3, "embed"}
    assert [each["image_id"] for each in found["images"][:3]] == [9, 10, 11]  # "red heart" has 9 letters
    assert found["why_not"] is None


def test_words_may_be_looked_for_in_one_layer(site: TestClient) -> None:
    found = site.get(f"{API}/tiny/search?q=heart&layer=3&token=any").json()
    assert {(each["layer"], each["token"]) for each in found["features"]} == {(3, "any")}
    assert [each["feature"] for each in found["features"][:2]] == [105 % 96, 106 % 96]


def test_page_and_json_list_the_same(site: TestClient) -> None:
    found = site.get(f"{API}/tiny/search?q=heart").json()
    html = site.get("/tiny/search?q=heart").text
    shown = [url.replace("&amp;", "&") for url in re.findall(r'<h3><a href="([^"]+)"', html)]
    assert shown == [each["url"] for each in found["named"] + found["features"]]
    told = [float(score) for score in re.findall(r"cosine <data value=\"([^\"]+)\"", html)]
    assert told == [each["score"] for each in found["features"] + found["images"]]


def test_a_text_is_embedded_once(site: TestClient, tower: FakeTower) -> None:
    for text in ("heart", "Heart ", "star", "heart"):
        site.get("/tiny/search", params={"q": text})
    assert tower.asked == ["heart", "star"]


def test_an_indexed_image_finds_others_like_it(site: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    state: Any = site.app.state.site  # type: ignore[attr-defined]
    vector = FakeTower().embed(["123456"])[0]
    monkeypatch.setattr(state.indexes["tiny"].reader, "embedding", lambda _: vector)
    found = site.get(f"{API}/tiny/search?image=7").json()
    assert [each["image_id"] for each in found["images"][:3]] == [6, 8, 9]
    assert found["features"][0]["feature"] == 6
    html = site.get("/tiny/search?image=7").text
    assert "Search by image" in html
    assert "/tiny/thumbs/7.webp" in html


def test_an_image_that_there_is_not_is_a_404(site: TestClient) -> None:
    assert site.get("/tiny/search?image=64").status_code == 404
    assert site.get("/tiny/search?upload=nothing").status_code == 404


def test_an_image_is_kept_as_an_upload_and_searched_by_its_link(site: TestClient) -> None:
    sent = site.post("/tiny/search", files=form(sample_image()), headers=BROWSER)
    assert sent.status_code == 303
    assert re.fullmatch(r"/tiny/search\?upload=[A-Za-z0-9_-]{22}", sent.headers["location"])
    page = site.get(sent.headers["location"])
    assert page.status_code == 200
    assert page.headers["cache-control"] == "private, no-store"
    found = site.get(API + sent.headers["location"]).json()
    assert len(found["features"]) == len(found["images"]) == 24
    upload_id = sent.headers["location"].partition("=")[2]
    deleted = site.post(f"/tiny/uploads/{upload_id}/delete", headers=BROWSER)
    assert deleted.status_code == 303
    assert site.get(sent.headers["location"]).status_code == 410


def test_another_site_may_not_send_an_image(site: TestClient) -> None:
    headers = {**BROWSER, "Sec-Fetch-Site": "cross-site"}
    assert site.post("/tiny/search", files=form(sample_image()), headers=headers).status_code == 403


def test_without_a_text_tower_the_page_says_why_and_names_still_count(start_site: StartSite) -> None:
    def failing(_: object) -> FakeTower:
        raise ModelError("/srv/secret: the model has no text encoder")

    for client, why in (
        (start_site(text_factory=failing), "text encoder of this index is missing"),
        (start_site(real_encoder=True, encoder_device="off"), "disabled the model"),
    ):
        answer = client.get("/tiny/search?q=heart")
        assert answer.status_code == 200
        assert why in answer.text
        assert "secret" not in answer.text
        assert why in client.get(f"{API}/tiny/search?q=heart").json()["why_not"]


def test_a_model_without_a_text_tower_is_asked_once_and_leaves_no_traceback(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.engine.lazy_models.RETRY_LOAD_S", 0.0)
    asked = []

    def failing(index_dir: object) -> FakeTower:
        asked.append(index_dir)
        raise NoTextError("/srv/model: the model has no text encoder, so no text can be embedded")

    client = start_site(text_factory=failing)
    for text in ("heart", "star"):
        assert (
            "model of this index has no text encoder"
            in client.get(f"{API}/tiny/search?q={text}").json()["why_not"]
        )
    assert len(asked) == 1
    told = [record for record in caplog.records if "no text encoder" in record.getMessage()]
    assert [(record.levelname, record.exc_info) for record in told] == [("WARNING", None)]


def test_words_that_the_model_does_not_know_are_looked_for_by_name_alone(site: TestClient) -> None:
    for text, words in (("qwertyuiop", "this word"), ("qwertyuiop qqq", "any of these words")):
        found = site.get(f"{API}/tiny/search", params={"q": text}).json()
        assert (found["features"], found["images"], found["matches_well"]) == ([], [], None)
        assert found["why_not"] == f"the model does not know {words}"
        assert f"the model does not know {words}" in site.get("/tiny/search", params={"q": text}).text


def test_a_word_that_the_model_does_not_know_is_told_beside_what_others_find(site: TestClient) -> None:
    found = site.get(f"{API}/tiny/search?q=heart+qq").json()
    assert (found["unknown_words"], len(found["features"])) == (["qq"], 24)
    html = site.get("/tiny/search?q=heart+qq").text
    assert "Ignored, because the model does not know it: <bdi>qq</bdi>." in html
    assert "unknown-words" not in site.get("/tiny/search?q=heart").text


@pytest.mark.parametrize(("usual", "matches_well"), [(0.1, True), (0.3, False), (None, True)])
def test_words_that_nothing_matches_well_are_said_to_find_the_nearest_there_is(
    site: TestClient, monkeypatch: pytest.MonkeyPatch, usual: float | None, matches_well: bool
) -> None:
    """Where features are nearer to their own names than the best one is to these words."""
    monkeypatch.setattr(ModeratedReader, "usual_name_score", lambda _: usual)
    assert site.get(f"{API}/tiny/search?q=heart").json()["matches_well"] is matches_well
    assert ("weak-match" in site.get("/tiny/search?q=heart").text) is not matches_well
    assert site.get(f"{API}/tiny/search?image=3").json()["matches_well"] is None


def test_an_index_without_vectors_says_so(
    start_site: StartSite, tower: FakeTower, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start_site(text_factory=tower_factory(tower))
    found = with_vectors(client, monkeypatch, described=False).get(f"{API}/tiny/search?q=heart").json()
    assert "no feature vectors" in found["why_not"]
    assert found["features"] == []
    assert len(found["images"]) == 24


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        (f"q={'a' * (MAX_CHARS + 1)}", f"at most {MAX_CHARS}"),
        ("q=a&layer=2", "1, 3 or embed"),
        ("q=a&token=9", "cls, 137 or any"),
        ("q=5&near=x", "1, 3 or embed"),
        ("image=-1", "whole number"),
    ],
)
def test_a_bad_value_is_a_422(site: TestClient, query: str, accepted: str) -> None:
    for address in (f"/tiny/search?{query}", f"{API}/tiny/search?{query}"):
        answer = site.get(address)
        assert answer.status_code == 422
        assert accepted in answer.text


@pytest.mark.parametrize("text", [*HOSTILE_CAPTIONS[:4], "\x00", "%' OR 1=1 --", "'; DROP TABLE images"])
def test_hostile_words_stay_words(site: TestClient, text: str) -> None:
    answer = site.get("/tiny/search", params={"q": text})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_the_box_is_on_every_page_and_keeps_where_one_is(site: TestClient) -> None:
    for address in ("/", "/tiny", "/tiny/1?token=137", "/tiny/1/0", "/tiny/images/3", "/api", "/nothing"):
        assert site.get(address).text.count('<input type="search" name="q"') == 1
    box = site.get("/tiny/3?token=137").text
    assert '<input type="hidden" name="near" value="3">' in box
    assert '<input type="hidden" name="token" value="137">' in box
    assert 'value="red heart"' in site.get("/tiny/search?q=red+heart").text


def test_the_box_of_a_page_without_an_index_leads_on(site: TestClient) -> None:
    answer = site.get("/search?q=red+heart")
    assert (answer.status_code, answer.headers["location"]) == (302, "/tiny/search?q=red+heart")


def test_nothing_asked_shows_how_to_ask(site: TestClient) -> None:
    assert "Enter words to find features by name" in site.get("/tiny/search").text
    assert site.get(f"{API}/tiny/search").json()["features"] == []


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_described_index(tmp_path_factory.mktemp("search") / "told")


SLOTS = [Slot(1, "cls"), Slot(3, "cls"), Slot("embed", "cls")]


def names_with(described: SmallIndex, words: str) -> list[tuple[int, float, Slot, int]]:
    """Rank and score of the first name with these letters, and whose it is, by brute force."""
    return [
        (names.index(name), told(slot, feature).scores[names.index(name)], slot, feature)
        for slot in SLOTS
        for feature in active(described, slot)
        for names in [told(slot, feature).names]
        for name in [next((name for name in names if words in name.lower()), None)]
        if name is not None
    ]


def test_features_that_are_called_so_come_first_and_surest_first(
    start_site: StartSite, described: SmallIndex
) -> None:
    client = start_site(index_dirs=[described.index_dir])
    found = client.get(f"{API}/told/search", params={"q": " RED  heart"}).json()
    expected = names_with(described, "red heart")
    firsts = sorted((score for rank, score, *_ in expected if rank == 0), reverse=True)
    assert [each["score"] for each in found["named"]] == firsts[:N_NAMED]
    assert {(each["name"], each["matched"]) for each in found["named"]} == {("red heart", "red heart")}
    others = {(slot.layer, feature) for rank, _, slot, feature in expected if rank == 1}
    assert len(found["also_named"]) == min(N_NAMED, len(others))
    for each in found["also_named"]:
        assert (each["layer"], each["feature"]) in others
        assert (each["matched"], each["score"]) == ("red heart", 0.03125)
        assert each["name"] != "red heart"
    html = client.get("/told/search?q=red+heart").text
    assert html.index("Features with this name") < html.index("Also matches a secondary name")
    assert "also <bdi>red heart</bdi>" in html


def test_a_part_of_a_word_is_found_too_but_is_no_name(start_site: StartSite, described: SmallIndex) -> None:
    found = start_site(index_dirs=[described.index_dir]).get(f"{API}/told/search?q=RED+h").json()
    assert found["named"] == []
    ranked = sorted(names_with(described, "red h"), key=lambda each: (each[0], -each[1]))
    assert [each["score"] for each in found["also_named"]] == [score for _, score, *_ in ranked[:N_NAMED]]
    assert names_with(described, "blue")  # in two names, one of which only begins with it
    blue = start_site(index_dirs=[described.index_dir]).get(f"{API}/told/search?q=blue").json()
    assert {each["name"] for each in blue["named"]} <= {"Blue fish", "<b>striped</b> blue"}
    assert len(blue["named"]) == N_NAMED


def test_the_exact_name_comes_before_longer_ones(start_site: StartSite, described: SmallIndex) -> None:
    reader: Any = start_site(index_dirs=[described.index_dir]).app.state.site.indexes["told"]  # type: ignore[attr-defined]
    name_matches = [
        NameMatch(1, 1, "night sky", 0.9, True),
        NameMatch(2, 1, "Night", 0.1, True),
        NameMatch(4, 2, "night", 0.2, False),
        NameMatch(5, 3, "night", 0.8, False),
        NameMatch(6, 2, "night", 0.3, False),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader.reader, "name_matches", lambda *_, **__: name_matches)
        named = by_name(reader, SLOTS[:1], "night")
    assert [found.card.feature for found in named.named] == [2, 1]
    assert [found.card.feature for found in named.also_named] == [6, 4, 5]


@pytest.mark.parametrize("words", ["(", "[a-", "\\", "c++", "%", "_", "$name"])
def test_signs_of_patterns_are_letters_like_others(described: SmallIndex, words: str) -> None:
    with IndexReader(described.index_dir) as reader:
        assert reader.name_matches(SLOTS[0], words, limit=3) == []


def test_letters_of_any_script_make_words(described: SmallIndex) -> None:
    with IndexReader(described.index_dir) as reader:
        whole, part = (reader.name_matches(SLOTS[0], words, limit=3) for words in ("مرحبا", "مرحب"))
    assert whole
    assert all(found.is_its_name for found in whole[:1])
    assert not any(found.is_its_name for found in part)


def test_names_are_other_peoples_words_too(start_site: StartSite, described: SmallIndex) -> None:
    html = start_site(index_dirs=[described.index_dir]).get("/told/search?q=striped").text
    assert "<b>striped" not in html
    assert "&lt;b&gt;striped&lt;/b&gt; blue" in html


def test_the_surest_names_are_there_to_begin_with(start_site: StartSite, described: SmallIndex) -> None:
    html = start_site(index_dirs=[described.index_dir]).get("/told/search").text
    assert 'href="/told/search?q=red+heart"' in html
