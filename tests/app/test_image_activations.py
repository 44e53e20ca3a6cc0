"""An image and its activations over HTTP: what is active, heatmaps, groups, steering; images and uploads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.engine.encoders import Vectors
from app.services.layer_flow import MIN_SCORE
from scopeview.errors import ModelError
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.encoder import PROJECTION, FakeEncoder
from tests.app.index import N_FEATURES, SmallIndex
from tests.app.sample_images import API, form, sample_image
from tests.app.test_search import with_vectors

IMAGE = "/api/v1/tiny/images/9"


def ask(site: TestClient, address: str, **query: Any) -> Any:
    answer = site.get(address, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Words:
    """A text encoder: a text points the way of its length."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.eye(PROJECTION, dtype=np.float32)[[len(text) for text in texts]]

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.split() if word == "unknown"]


@pytest.fixture
def site(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    return with_vectors(start_site(text_factory=lambda _: Words()), monkeypatch)


@pytest.fixture
def upload(site: TestClient) -> str:
    """The address of one, in JSON."""
    url: str = site.post(API, files=form(sample_image())).json()["url"]
    return f"/api/v1{url}"


@pytest.mark.parametrize("token", ["cls", "137"])
@pytest.mark.parametrize("layer", [1, 3])
def test_an_indexed_image_has_the_code_of_the_index(
    site: TestClient, small_index: SmallIndex, layer: int, token: str
) -> None:
    found = ask(site, f"{IMAGE}/activations", layer=layer, tokens=token)
    kept = small_index.dense[Slot(layer, token)][9]
    told = {one["feature"]: one["activation"] for one in found["features"]}
    assert told == {feature: float(kept[feature]) for feature in np.flatnonzero(kept > 0).tolist()}
    assert list(told.values()) == sorted(told.values(), reverse=True)
    indexed = next(
        code for code in site.get(IMAGE).json()["codes"] if (code["layer"], code["token"]) == (layer, token)
    )
    assert [one["feature"] for one in found["features"]] == [one["feature"] for one in indexed["features"]]


def test_an_upload_has_the_code_that_it_was_answered_with(site: TestClient, upload: str) -> None:
    found = ask(site, f"{upload}/activations", layer=3, tokens="any", top=4)
    (code,) = [c for c in site.get(upload).json()["codes"] if (c["layer"], c["token"]) == (3, "any")]
    assert [(one["feature"], one["activation"], one["position"]) for one in found["features"]] == [
        (one["feature"], one["activation"], one["position"]) for one in code["features"]
    ]
    assert (found["image_id"], found["upload_id"]) == (None, upload.rpartition("/")[2])


def test_looking_at_an_upload_again_takes_no_forward_pass(
    site: TestClient, upload: str, encoder: FakeEncoder
) -> None:
    for query in ({"layer": 1}, {"layer": 3, "tokens": "137"}, {"layer": "embed"}):
        ask(site, f"{upload}/activations", **query)
        ask(site, f"{upload}/groups", **query)
    assert encoder.batches == [1]


def test_an_upload_whose_numbers_were_forgotten_comes_out_the_same(
    site: TestClient, upload: str, encoder: FakeEncoder
) -> None:
    before = ask(site, f"{upload}/activations", layer=3)
    worker: Any = site.app.state.site.worker  # type: ignore[attr-defined]
    worker._memory._known.clear()
    assert ask(site, f"{upload}/activations", layer=3) == before
    assert encoder.batches == [1, 1]


def test_masses_shares_and_figures_are_told(site: TestClient, upload: str) -> None:
    found = ask(site, f"{upload}/activations", layer=3, tokens="cls,137")
    assert (found["tokens"], found["n_tokens"], found["n_active"]) == ("cls,137", 2, 4)
    assert sum(one["share"] for one in found["features"]) == pytest.approx(1)
    first = found["features"][0]
    norm = 1 + first["feature"] / 4
    assert first == {
        "feature": first["feature"],
        "activation": 12.5,
        "position": 137,
        "n_tokens": 2,
        "mass": pytest.approx((12 + 12.5) * norm),
        "share": pytest.approx(first["mass"] / found["mass"]),
        "url": f"/tiny/3/{first['feature']}?token=cls",
    }
    assert {len(figures) for figures in found["residual"].values()} == {257}
    assert found["explained"]["l0"] == 4
    assert found["explained"]["mse"] == pytest.approx(
        np.mean([found["residual"]["mse"][t] for t in (0, 137)])
    )


def test_the_list_is_cut_and_ordered_as_asked(site: TestClient, upload: str) -> None:
    by_mass = ask(site, f"{upload}/activations", layer=3, tokens="137", order="mass", top=2)
    masses = [one["mass"] for one in by_mass["features"]]
    assert (len(masses), by_mass["n_active"]) == (2, 4)
    assert masses == sorted(masses, reverse=True)
    strong = ask(site, f"{upload}/activations", layer=3, tokens="137", least=11)
    assert [one["activation"] for one in strong["features"]] == [12.5, 11.5]
    assert ask(site, f"{upload}/activations", layer=3, tokens="1")["features"] == []


def test_the_heat_of_one_feature_is_its_activation_and_of_several_their_mass(
    site: TestClient, upload: str
) -> None:
    feature = ask(site, f"{upload}/activations", layer=3)["features"][0]["feature"]
    one = ask(site, f"{upload}/heat", layer=3, features=feature)
    assert (one["unit"], one["cls"], one["patches"][136], one["max"]) == ("activation", 12, 12.5, 12.5)
    others = [at for at in range(6) if at != feature]
    several = ask(site, f"{upload}/heat", layer=3, features=",".join(map(str, [feature, *others])))
    assert several["unit"] == "mass"
    assert several["max"] == pytest.approx(sum((12.5 - r) * (1 + (feature + r) % 6 / 4) for r in range(4)))


def test_groups_hold_every_active_feature_once(site: TestClient, upload: str) -> None:
    active = ask(site, f"{upload}/activations", layer=3, tokens="137")["features"]
    found = ask(site, f"{upload}/groups", layer=3, tokens="137", threshold=0.1)
    assert len(found["groups"]) == 2
    assert [{feature % 2 for feature in group["features"]} for group in found["groups"]] in (
        [{0}, {1}],
        [{1}, {0}],
    )
    together = [feature for group in found["groups"] for feature in group["features"]]
    assert sorted(together) == sorted(one["feature"] for one in active)
    assert sum(group["share"] for group in found["groups"]) == pytest.approx(1)
    assert len(ask(site, f"{upload}/groups", layer=3, tokens="137", threshold=0.9)["groups"]) == 1


def test_steering_without_a_change_changes_nothing(site: TestClient, upload: str) -> None:
    found = ask(site, f"{upload}/steering", layer=3, prompt=["a heart", "a sun"])
    assert found["cosine"] == pytest.approx(1)
    assert found["nearest_before"] == found["nearest_after"]
    assert [one["prompt"] for one in found["prompts"]] == ["a heart", "a sun"]
    assert all(one["before"] == one["after"] for one in found["prompts"])
    assert sum(one["before"] for one in found["prompts"]) == pytest.approx(1)


def test_steering_changes_what_the_image_is_like(site: TestClient, upload: str) -> None:
    query = {"layer": 3, "edit": ["3:40", "3,4:x0.5"], "prompt": ["abc", "ab"]}  # feature 3, and feature 2
    found = ask(site, f"{upload}/steering", **query)
    assert found["edits"] == ["3:40", "3,4:x0.5"]
    assert found["cosine"] < 0.9
    (three, two) = found["prompts"]
    assert three["after"] > 0.9 > three["before"] == two["before"] == 0.5
    near = ask(site, f"{upload}/steering", layer=3, tokens="1", edit="3:40")
    assert near["tokens"] == "1"
    assert near["cosine"] > found["cosine"]
    assert (near["prompts"], near["why_no_prompts"]) == ([], None)


@pytest.mark.parametrize(
    ("part", "query", "accepted"),
    [
        ("activations", "layer=2", "1, 3 or embed"),
        ("activations", "layer=3&tokens=257", "from 1 to 256"),
        ("activations", "layer=3&tokens=x", "from 1 to 256"),
        ("activations", "layer=embed&tokens=1", "any, cls"),
        ("activations", "order=size", "activation or mass"),
        ("activations", "top=0", "greater than or equal to 1"),
        ("activations", "least=nan", "least"),
        ("heat", "", "features"),
        ("heat", f"features={N_FEATURES}", f"0 to {N_FEATURES - 1}"),
        ("heat", "features=1,,2", "commas"),
        ("groups", "threshold=0", "0.01"),
        ("steering", "edit=1", "12:0"),
        ("steering", "edit=1:x1e9", "12:0"),
        ("steering", f"edit={N_FEATURES}:0", f"0 to {N_FEATURES - 1}"),
        ("steering", "edit=1:0&" * 33, "32"),
        ("steering", "prompt=" + "a" * 201, "200"),
    ],
)
def test_a_bad_query_is_a_422_that_says_what_is_accepted(
    site: TestClient, part: str, query: str, accepted: str
) -> None:
    answer = site.get(f"{IMAGE}/{part}?{query}")
    assert answer.status_code == 422
    assert accepted in answer.json()["detail"]


@pytest.mark.parametrize("part", ["activations", "heat", "groups", "steering"])
def test_an_image_that_there_is_not_is_a_404_and_a_deleted_one_a_410(site: TestClient, part: str) -> None:
    assert site.get(f"/api/v1/tiny/images/64/{part}?features=1").status_code == 404
    assert site.get(f"{API}/{'A' * 22}/{part}?features=1").status_code == 404
    body = site.post(API, files=form(sample_image())).json()
    url = f"/api/v1{body['url']}"
    site.delete(url, headers={"Delete-Key": body["delete_key"]})
    assert site.get(f"{url}/{part}?features=1").status_code == 410


def test_where_words_cannot_be_compared_the_edit_is_shown_all_the_same(
    start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_: Path) -> Words:
        raise ModelError("no text encoder")

    site = with_vectors(start_site(text_factory=absent), monkeypatch)
    found = ask(site, f"{IMAGE}/steering", edit="3:40", prompt="a heart")
    assert found["prompts"] == []
    assert "the text encoder of this index is missing" in found["why_no_prompts"]
    assert found["cosine"] < 1


def test_one_selection_has_one_spelling(site: TestClient) -> None:
    for tokens in ("35,17,33-34,cls", "cls,17,33-35"):
        assert ask(site, f"{IMAGE}/activations", tokens=tokens)["tokens"] == "cls,17,33-35"


def test_through_the_layers_groups_hold_what_is_active_and_links_what_is_listed(
    site: TestClient, upload: str
) -> None:
    found = ask(site, f"{upload}/layers", tokens="137,cls", groups=20, features=50)
    assert (found["index"], found["image_id"], found["tokens"]) == ("tiny", None, "cls,137")
    assert [layer["layer"] for layer in found["layers"]] == [1, 3]
    assert found["layers"][-1]["links"] == []
    listed = list[set[int]]()
    for layer in found["layers"]:
        query: dict[str, Any] = {"layer": layer["layer"], "tokens": "cls,137"}
        answer = ask(site, f"{upload}/activations", **query)
        made = ask(site, f"{upload}/groups", **query)["groups"]
        activations = {each["feature"]: each["activation"] for each in answer["features"]}
        masses = {each["feature"]: each["mass"] for each in answer["features"]}
        members = [each for group in layer["groups"] for each in group["features"]]
        assert {each["feature"]: each["activation"] for each in members} == activations
        assert {each["feature"]: each["mass"] for each in members} == masses
        assert [[each["feature"] for each in group["features"]] for group in layer["groups"]] == [
            group["features"] for group in made
        ]
        assert [group["share"] for group in layer["groups"]] == [group["share"] for group in made]
        assert layer["explained_variance"] == answer["explained"]["explained_variance"]
        assert (layer["n_features"], layer["n_groups"]) == (answer["n_active"], len(made))
        assert all(site.get(each["url"]).status_code == 200 for each in members)
        listed.append(set(activations))
    links = found["layers"][0]["links"]
    assert links
    assert all(link["feature"] in listed[0] and link["other"] in listed[1] for link in links)
    assert all(link["score"] >= MIN_SCORE[link["kind"]] for link in links)
    scores = [link["score"] for link in links]
    assert scores == sorted(scores, reverse=True)


def test_through_the_layers_as_much_is_listed_as_is_asked_for(site: TestClient) -> None:
    few = ask(site, f"{IMAGE}/layers", tokens="any", groups=1, features=2)
    for layer in few["layers"]:
        (group,) = layer["groups"]
        assert len(group["features"]) == min(2, group["n_features"])
    assert site.get(f"{IMAGE}/layers", params={"groups": 0}).status_code == 422
    assert site.get(f"{IMAGE}/layers", params={"tokens": "999"}).status_code == 422
    assert ask(site, f"{IMAGE}/layers")["tokens"] == "cls"
    assert site.get(f"{IMAGE}/layers").headers["cache-control"] == "private, no-store"
