"""Pages of an image's activations: they say what the JSON says, and keep their state in the address."""

import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.services.groups import group_names
from scopeview.analysis.grouping import Group
from scopeview.errors import CheckpointError
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from tests.app.conftest import StartSite
from tests.app.encoder import FakeEncoder
from tests.app.index import UNSAFE_IMAGE, SmallIndex
from tests.app.sample_images import API, form, sample_image
from tests.app.test_image_activations import Words
from tests.app.test_search import with_vectors

IMAGE = "/tiny/images/9"
PARTS = ("activations", "groups", "layers", "steering", "similar", "compare")


@pytest.fixture
def site(start_site: StartSite, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    return with_vectors(start_site(text_factory=lambda _: Words()), monkeypatch)


@pytest.fixture
def upload(site: TestClient) -> str:
    url: str = site.post(API, files=form(sample_image())).json()["url"]
    return url


def shown(site: TestClient, address: str, **query: Any) -> str:
    answer = site.get(address, params=query)
    assert answer.status_code == 200, answer.text
    return answer.text


def links(html: str) -> set[str]:
    return {url.replace("&amp;", "&") for url in re.findall(r'href="([^"]*)"', html)}


def values(html: str) -> list[float]:
    return [float(value) for value in re.findall(r'<data value="([^"]*)"', html)]


@pytest.mark.parametrize("part", PARTS)
def test_uploads_and_images_have_the_same_pages(site: TestClient, upload: str, part: str) -> None:
    of_image, of_upload = site.get(f"{IMAGE}/{part}"), site.get(f"{upload}/{part}")
    assert of_image.status_code == of_upload.status_code == 200
    assert "private, no-store" in of_upload.headers["cache-control"]
    assert "Image 9" in of_image.text
    assert "Your image" in of_upload.text
    for html, base in ((of_image.text, IMAGE), (of_upload.text, upload)):
        assert {urlsplit(url).path for url in links(html)} >= {f"{base}/{each}" for each in PARTS} | {base}


@pytest.mark.parametrize("tokens", ["cls", "137", "any", "cls,137"])
def test_the_list_is_that_of_the_json(site: TestClient, upload: str, tokens: str) -> None:
    for base in (IMAGE, upload):
        told = site.get(f"/api/v1{base}/activations", params={"layer": 3, "tokens": tokens, "top": 24}).json()
        html = shown(site, f"{base}/activations", layer=3, tokens=tokens)
        numbers = [
            int(number) for number in re.findall(r'class="active-feature[^"]*" data-feature="(\d+)"', html)
        ]
        listed = told["features"] + told["approximate_features"]
        assert numbers == [each["feature"] for each in listed]
        figures = values(html)
        for each in listed:
            assert each["activation"] in figures
            assert each["share"] in figures
        assert told["explained"]["mse"] in figures
        assert told["explained"]["explained_variance"] in figures


def test_an_indexed_image_shows_what_was_indexed(site: TestClient, small_index: SmallIndex) -> None:
    html = shown(site, f"{IMAGE}/activations", layer=1, tokens="137")
    kept = small_index.dense[Slot(1, "137")][9]
    assert set(values(html)) >= {float(value) for value in kept[kept > 0]}


def test_the_chosen_feature_lies_over_the_image_and_leads_to_its_page(site: TestClient, upload: str) -> None:
    first = site.get(f"/api/v1{upload}/activations", params={"layer": 3}).json()["features"][0]["feature"]
    html = shown(site, f"{upload}/activations", layer=3, feature=first)
    assert f'aria-label="L3 · {first}: highest at row 8, column 8: 12.5; above zero at 1 of 256' in html
    assert '<path class="overlay-' in html
    upload_id = upload.rpartition("/")[2]
    assert f"/tiny/3/{first}?token=any&upload={upload_id}" in links(html)
    assert f"{upload}/steering?layer=3&tokens=any&edit={first}:x0.5" in links(html)
    page = shown(site, f"/tiny/3/{first}", token="any", upload=upload_id)
    assert page.index('id="pinned-image"') < page.index('class="big-grid"')
    assert "fires at 2 of 257 tokens, highest at patch (8, 8)" in page
    assert f"{upload}/activations?layer=3&tokens=any&feature={first}" in links(page)
    assert 12.5 in values(page)
    assert any(f"upload={upload_id}" in url and "/tiny/3/" in url for url in links(page.split("<main")[0]))


def test_a_feature_that_is_silent_here_is_said_to_be(site: TestClient, upload: str) -> None:
    html = shown(site, f"{upload}/activations", layer=3, feature=90)
    assert "does not fire anywhere in this image" in html
    page = shown(site, "/tiny/3/90", upload=upload.rpartition("/")[2])
    assert "does not fire on this image" in page


def test_one_view_has_one_address(site: TestClient) -> None:
    answer = site.get(f"{IMAGE}/activations?layer=3&tokens=35,17,33-34&feature=2&order=mass")
    assert answer.status_code == 302
    there = answer.headers["location"]
    assert parse_qs(urlsplit(there).query) == {
        "layer": ["3"],
        "tokens": ["17,33-35"],
        "feature": ["2"],
        "order": ["mass"],
    }
    assert site.get(there).status_code == 200


def test_every_patch_is_a_link_that_keeps_the_rest(site: TestClient) -> None:
    html = shown(site, f"{IMAGE}/activations", layer=3, tokens="17,33-35", feature=2)
    wanted = {f"{IMAGE}/activations?layer=3&tokens={token}&feature=2" for token in range(1, 257)}
    assert wanted <= links(html)
    assert 'd="M0 1h1' in html


def test_a_layer_without_patches_has_neither_grid_nor_heat(site: TestClient) -> None:
    html = shown(site, f"{IMAGE}/activations", layer="embed", feature=3)
    assert 'class="patches"' not in html
    assert "<residual-map" not in html


def test_the_rail_keeps_the_tokens_and_drops_what_means_something_else_there(site: TestClient) -> None:
    rail = shown(site, f"{IMAGE}/activations", layer=3, tokens="137", feature=2).split("<main")[0]
    assert f"{IMAGE}/activations?layer=1&tokens=137" in links(rail)
    assert f"{IMAGE}/activations?layer=embed&tokens=any" in links(rail)
    assert f"{IMAGE}/activations?layer=3&tokens=cls&feature=2" in links(rail)


def test_the_list_is_cut_as_asked_and_goes_on(site: TestClient, upload: str) -> None:
    html = shown(site, f"{upload}/activations", layer=3, top=2)
    assert html.count('<div class="active-feature') == 2
    assert f"{upload}/activations?layer=3&tokens=any&top=12" in links(html)
    none = shown(site, f"{upload}/activations", layer=3, least=100)
    assert "No feature is that active here" in none


def test_groups_are_those_of_the_json_and_wear_their_heat(site: TestClient, upload: str) -> None:
    query: dict[str, Any] = {"layer": 3, "tokens": "137", "threshold": 0.1}
    told = site.get(f"/api/v1{upload}/groups", params=query).json()["groups"]
    html = shown(site, f"{upload}/groups", **query, group=1)
    assert html.count('<li class="group') == len(told) == 2
    assert {each["share"] for each in told} <= set(values(html))
    edits = {f"{','.join(map(str, each['features']))}:0" for each in told}
    turned = {
        parse_qs(urlsplit(url).query)["edit"][0]
        for url in links(html)
        if "/steering?" in url and "edit=" in url
    }
    assert edits <= turned
    assert html.count('<svg class="heatmap-overlay"') == 3


def test_through_the_layers_every_block_has_a_column(site: TestClient, upload: str) -> None:
    html = shown(site, f"{upload}/layers", tokens="137")
    assert re.findall(r'<section class="flow-column" aria-label="([^"]*)"', html) == ["L1", "L3"]
    assert '<path class="line-decoder' in html
    assert "decoder cosine 1.00" in html


@pytest.mark.parametrize("tokens", ["cls", "137", "any"])
def test_through_the_layers_the_page_says_what_the_json_says(
    site: TestClient, upload: str, tokens: str
) -> None:
    for base in (IMAGE, upload):
        told = site.get(f"/api/v1{base}/layers", params={"tokens": tokens}).json()
        html = shown(site, f"{base}/layers", tokens=tokens)
        query = "" if tokens == "cls" else f"?tokens={tokens}"
        assert f"/api/v1{base}/layers{query}" in links(html)
        groups = [group for layer in told["layers"] for group in layer["groups"]]
        heads = re.findall(r'<p class="flow-head"><a href="[^"]*" dir="auto" title="([^"]*): (\d+) f', html)
        assert heads == [(group["name"], str(group["n_features"])) for group in groups]
        assert {group["share"] for group in groups} <= set(values(html))
        assert {layer["explained_variance"] for layer in told["layers"]} <= set(values(html))
        nodes = [int(number) for number in re.findall(r"<span><b>(\d+)</b>", html)]
        assert nodes == [each["feature"] for group in groups for each in group["features"]]
        table = html.split("similarities as a table")[1]
        rows = re.findall(r"<td>(\d+) → (\d+): (decoder cosine|co-firing)", table)
        kinds = {"decoder": "decoder cosine", "cofiring": "co-firing"}
        assert rows == [
            (str(link["feature"]), str(link["other"]), kinds[link["kind"]])
            for layer in told["layers"]
            for link in layer["links"]
        ]


def test_steering_says_what_the_json_says(site: TestClient, upload: str) -> None:
    query: dict[str, Any] = {"layer": 3, "edit": ["3:40", "3,4:x0.5"], "prompt": ["abc", "ab"]}
    told = site.get(f"/api/v1{upload}/steering", params=query).json()
    html = shown(site, f"{upload}/steering", **query)
    figures = values(html)
    assert told["cosine"] in figures
    assert {each["after"] for each in told["prompts"]} <= set(figures)
    assert {each["cosine"] for each in told["nearest_after"]} <= set(figures)
    assert f"{upload}/steering?layer=3&tokens=any&edit=3,4:x0.5&prompt=abc&prompt=ab" in links(html)
    assert html.count('<li class="edit">') == 2


def test_a_form_that_turns_a_feature_leads_to_the_address_with_the_edit(site: TestClient) -> None:
    answer = site.get(f"{IMAGE}/steering?layer=3&tokens=any&edit=2:0&prompt=a&prompt=&turn=2&to=4.5")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"{IMAGE}/steering?layer=3&tokens=any&edit=2:4.5&prompt=a"
    added = site.get(f"{IMAGE}/steering?layer=3&tokens=any&edit=2:0&turn=3,%204&to=x2")
    assert added.headers["location"].endswith("&edit=2:0&edit=3,4:x2")
    assert site.get(f"{IMAGE}/steering?layer=3&turn=2&to=much").status_code == 422


def test_similar_images_are_those_of_the_json_and_never_itself(site: TestClient) -> None:
    told = site.get(f"/api/v1{IMAGE}/similar", params={"layer": 3, "token": "any"}).json()
    html = shown(site, f"{IMAGE}/similar", layer=3, token="any")
    for which in ("by_embedding", "by_code"):
        ids = [each["image_id"] for each in told[which]]
        assert ids
        assert 9 not in ids
        assert {f"{IMAGE}/compare?with={image_id}" for image_id in ids} <= links(html)
        assert {each["cosine"] for each in told[which]} <= set(values(html))


def test_two_images_are_compared_either_way_round(site: TestClient, upload: str) -> None:
    upload_id = upload.rpartition("/")[2]
    here = site.get(f"/api/v1{IMAGE}/compare", params={"with": upload_id}).json()["layers"]
    there = site.get(f"/api/v1{upload}/compare", params={"with": 9}).json()["layers"]
    assert [each["only_here"] for each in here] == [each["only_there"] for each in there]
    assert [len(each["shared"]) for each in here] == [len(each["shared"]) for each in there]
    html = shown(site, f"{IMAGE}/compare", **{"with": upload_id})
    assert html.count('<section class="slot image-comparison"') == len(here) == 3
    for each in here:
        counts = [len(each[name]) for name in ("shared", "only_here", "only_there")]
        assert set(counts) <= set(values(html))
    assert site.get(f"{IMAGE}/compare?with={upload_id}").headers["cache-control"] == "private, no-store"


def test_a_page_that_could_not_compare_prompts_is_kept_by_nobody(
    site: TestClient, start_site: StartSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{IMAGE}/steering?layer=3&tokens=any&prompt=a"
    assert site.get(address).headers["cache-control"] == "public, no-cache"

    def broken(_: Any) -> Any:
        raise CheckpointError("no tokenizer")

    without = with_vectors(start_site(text_factory=broken), monkeypatch)
    assert without.get(address).headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize(("other", "status"), [("x", 422), ("64", 404), ("A" * 22, 404)])
def test_what_cannot_be_compared_is_told(site: TestClient, other: str, status: int) -> None:
    assert site.get(f"{IMAGE}/compare?with={other}").status_code == status


@pytest.mark.parametrize("part", PARTS)
def test_what_there_is_not_is_a_404_and_what_is_gone_a_410(site: TestClient, part: str) -> None:
    for address in ("/tiny/images/64", "/tiny/images/1_0", "/tiny/uploads/x", "/tiny/pictures/9"):
        assert site.get(f"{address}/{part}").status_code == 404
    body = site.post(API, files=form(sample_image())).json()
    site.delete(f"/api/v1{body['url']}", headers={"Delete-Key": body["delete_key"]})
    assert site.get(f"{body['url']}/{part}").status_code == 410


def test_without_a_model_pages_say_so_and_show_what_was_kept(start_site: StartSite) -> None:
    site = start_site(encoder_device="off", real_encoder=True)
    overview = shown(site, IMAGE)
    assert "disabled the model" in overview
    assert 'class="patches"' not in overview
    assert f"{IMAGE}?layer=3&token=cls" in links(overview)
    assert site.get(f"{IMAGE}/activations").status_code == 503
    assert "disabled the model" in site.get(f"{IMAGE}/activations", headers={"accept": "text/html"}).text
    assert shown(site, f"{IMAGE}/compare", **{"with": 3}).count("comparison-columns") == 3
    page = shown(site, "/tiny/3/2", image=9)
    assert "is unavailable" in page


def test_an_unsafe_image_stays_covered(site: TestClient) -> None:
    assert 'class="image blurred"' in shown(site, f"/tiny/images/{UNSAFE_IMAGE}/activations")


def test_looking_on_takes_no_forward_pass(site: TestClient, upload: str, encoder: FakeEncoder) -> None:
    for address in (
        upload,
        f"{upload}/activations?layer=1",
        f"{upload}/activations?layer=3&tokens=137&feature=2",
        f"{upload}/groups?layer=3",
        f"{upload}/layers",
        f"{upload}/similar",
    ):
        assert site.get(address).status_code == 200
    assert encoder.batches == [1]


def test_whoever_sent_an_image_keeps_it_longer_and_deletes_it_by_a_link(site: TestClient) -> None:
    url = site.post("/tiny/uploads", files=form(sample_image()), headers={"accept": "text/html"}).headers[
        "location"
    ]
    own = site.get(url).text
    assert "Keep for 30 days" in own
    link = next(each for each in re.findall(r'data-url="([^"]*)"', own) if "/delete?key=" in each)
    kept = site.post(f"{url}/keep")
    assert (kept.status_code, kept.headers["location"]) == (303, url)
    assert int(re.findall(r"Max-Age=(\d+)", kept.headers["set-cookie"])[0]) > 29 * 86400
    assert "Keep for 30 days" not in site.get(url).text
    site.cookies.clear()
    assert "Delete this image" not in site.get(url).text
    assert site.post(f"{url}/keep").status_code == 403
    asked = site.get(link)
    assert "Delete this image?" in asked.text
    assert asked.headers["referrer-policy"] == "no-referrer"
    assert site.get(url).status_code == 200, "looking at the link deletes nothing"
    assert site.post(f"{url}/delete?key=wrong").status_code == 403
    answer = site.post(link)
    assert (answer.status_code, answer.headers["location"]) == (303, url)
    assert (
        site.get(url).status_code
        == site.get(f"{url}/activations").status_code
        == site.get(link).status_code
        == 410
    )


def test_the_form_says_what_is_kept_and_how_to_send_by_script(site: TestClient) -> None:
    html = shown(site, "/tiny/uploads")
    assert "for 24 hours, or for 30 days" in html
    assert "curl -F image=@photo.jpg http://testserver/api/v1/tiny/uploads" in html
    assert 'capture="environment"' in html


def test_no_two_groups_have_the_same_name(small_index: SmallIndex) -> None:
    cards = IndexReader(small_index.index_dir).cards(Slot(1, "cls"), range(6))
    names = ["red heart", "red heart", "heart", "red heart", None, None]
    named = {at: replace(card, name=name) for (at, card), name in zip(cards.items(), names, strict=True)}
    made = [
        Group(np.array(members), np.linspace(9, 1, len(members)), 0.3)
        for members in ([0], [1, 2], [3], [4], [5])
    ]
    assert [found[0] for found in group_names(made, named, 1)] == [
        "red heart",
        "heart",
        "red heart (L1 · 3)",
        "L1 · 4",
        "L1 · 5",
    ]
