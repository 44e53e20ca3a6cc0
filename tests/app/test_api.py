"""`/api/v1`: the shapes of the contract, and that they say what the pages say."""

import json
import re

import pytest
from starlette.testclient import TestClient

from app.formatting import percent, significant
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.index import FEW_IMAGES, HOSTILE_URLS, N_FEATURES, N_IMAGES, NEVER_FIRES, SmallIndex

FEATURE_KEYS = {
    *("index", "layer", "token", "feature", "n_images", "n_active", "density", "max_activation"),
    *("mean_activation", "histogram", "top_images", "names", "neighbors", "provenance"),
}


def test_the_indexes_are_listed(site: TestClient) -> None:
    found = site.get("/api/v1/indexes").json()["indexes"]
    assert [(each["index"], each["n_images"], each["url"]) for each in found] == [("tiny", N_IMAGES, "/tiny")]


def test_an_index_names_its_layers_tokens_and_figures(site: TestClient) -> None:
    layers = site.get("/api/v1/tiny").json()["layers"]
    assert [layer["layer"] for layer in layers] == [1, 3, "embed"]
    assert [slot["token"] for slot in layers[0]["tokens"]] == ["cls", "137", "any"]
    assert layers[0]["figures"]["explained_variance"] == 0.7312345
    assert layers[2]["figures"] is None


@pytest.mark.parametrize("token", ["cls", "137", "any"])
def test_a_feature_says_what_was_indexed(site: TestClient, small_index: SmallIndex, token: str) -> None:
    for feature in (0, 1, FEW_IMAGES, NEVER_FIRES, N_FEATURES - 1):
        answer = site.get(f"/api/v1/tiny/1/{feature}?token={token}").json()
        column = small_index.dense[Slot(1, token)][:, feature]
        assert answer.keys() >= FEATURE_KEYS
        assert answer["n_active"] == (column > 0).sum()
        assert answer["density"] == answer["n_active"] / N_IMAGES
        assert answer["max_activation"] == (float(column.max()) or None)
        assert sum(answer["histogram"]["counts"]) == answer["n_active"]
        assert [top["activation"] for top in answer["top_images"]] == sorted(
            column[column > 0], reverse=True
        )[:20]


def test_layers_are_ints_or_embed_and_tokens_are_strings(site: TestClient) -> None:
    assert site.get("/api/v1/tiny/1/0?token=137").json()["token"] == "137"
    assert site.get("/api/v1/tiny/1/0").json()["layer"] == 1
    assert site.get("/api/v1/tiny/embed/0").json()["layer"] == "embed"


def test_a_page_and_its_json_show_the_same_numbers(site: TestClient) -> None:
    for token in ("cls", "any"):
        for feature in range(0, 12):
            answer = site.get(f"/api/v1/tiny/3/{feature}?token={token}").json()
            html = site.get(f"/tiny/3/{feature}?token={token}").text
            assert figure(html, "density") == (answer["density"], percent(answer["density"]))
            if answer["n_active"] == 0:
                continue
            for name, key in (("max", "max_activation"), ("mean", "mean_activation")):
                assert figure(html, name) == (answer[key], significant(answer[key]))
            shown = re.findall(r'class="rank">([0-9]+)</span>.*?<data value="([^"]+)"', html, re.S)
            listed = [(str(top["rank"]), top["activation"]) for top in answer["top_images"]]
            assert [(rank, float(value)) for rank, value in shown][: len(listed)] == listed


def figure(html: str, name: str) -> tuple[float, str]:
    found = re.search(rf'class="{name}"><data value="([^"]+)" title="\1">([^<]+)</data>', html)
    assert found, name
    return float(found[1]), found[2]


def test_the_gallery_and_its_page_list_the_same_features(site: TestClient) -> None:
    for query in (
        "sort=density",
        "sort=max&token=any",
        "sort=random&seed=9&min_images=2",
        "min_images=0&page=2",
    ):
        api_query = query.replace("page=2", "offset=48")
        answer = site.get(f"/api/v1/tiny/1?{api_query}").json()
        html = site.get(f"/tiny/1?{query}").text
        shown = re.findall(r'<h3><a href="([^"]+)"', html)
        assert [url.replace("&amp;", "&") for url in shown] == [each["url"] for each in answer["features"]]
        assert f">{answer['n_active']}</data> of" in html


def test_an_image_gives_its_code_at_every_slot(site: TestClient, small_index: SmallIndex) -> None:
    answer = site.get("/api/v1/tiny/images/12").json()
    assert [(code["layer"], code["token"]) for code in answer["codes"]] == list(small_index.dense)
    for code in answer["codes"]:
        row = small_index.dense[Slot(code["layer"], code["token"])][12]
        assert {pair["feature"]: pair["activation"] for pair in code["features"]} == {
            feature: value for feature, value in enumerate(row.tolist()) if value > 0
        }


def test_an_image_page_shows_the_activations_of_its_json(site: TestClient) -> None:
    codes = site.get("/api/v1/tiny/images/12").json()["codes"]
    code = next(code for code in codes if (code["layer"], code["token"]) == (3, "any"))
    html = site.get("/tiny/images/12?layer=3&token=any").text
    shown = re.findall(r'</svg> <data value="([^"]+)"', html)
    assert [float(value) for value in shown] == [pair["activation"] for pair in code["features"]]


def test_images_are_paged_by_id(site: TestClient) -> None:
    seen, url = list[int](), "/api/v1/tiny/images?limit=25"
    while url:
        answer = site.get(url).json()
        seen += [image["image_id"] for image in answer["images"]]
        url = answer["next"]
    assert seen == list(range(N_IMAGES))


def test_all_activating_images_are_paged_by_rank(site: TestClient, small_index: SmallIndex) -> None:
    ranks, url = list[int](), "/api/v1/tiny/1/0/images?token=any&limit=9"
    while url:
        answer = site.get(url).json()
        ranks += [image["rank"] for image in answer["images"]]
        url = answer["next"]
    n_active = int((small_index.dense[Slot(1, "any")][:, 0] > 0).sum())
    assert ranks == list(range(1, n_active + 1))


def test_source_urls_are_http_or_absent(site: TestClient) -> None:
    found = [site.get(f"/api/v1/tiny/images/{at}").json()["source_url"] for at in range(len(HOSTILE_URLS))]
    assert found == [None, None, HOSTILE_URLS[2], HOSTILE_URLS[3], None, None]


def test_no_number_in_json_is_infinite_or_nan(site: TestClient) -> None:
    for address in ("/api/v1/tiny", "/api/v1/tiny/1/0", "/api/v1/tiny/images/0"):
        json.loads(site.get(address).text, parse_constant=lambda word: pytest.fail(word))


def test_openapi_describes_every_operation_status_and_field(site: TestClient) -> None:
    document = site.get("/api/v1/openapi.json").json()
    for path, methods in document["paths"].items():
        assert path.startswith("/api/v1/")
        for operation in methods.values():
            assert operation["summary"]
            schemas = json.dumps(operation["responses"])
            assert "HTTPValidationError" not in schemas, "every problem has the same body"
            assert all(parameter["description"] for parameter in operation.get("parameters", []))
            assert "404" in operation["responses"] or path == "/api/v1/indexes"
        if "get" in methods:
            told = {status: each["description"] for status, each in methods["get"]["responses"].items()}
            assert "too_many_at_once" in told["429"]
            assert "damaged" in told["503"]
    statuses = document["paths"]["/api/v1/{index}/uploads"]["post"]["responses"].keys()
    assert statuses >= {"201", "403", "404", "413", "415", "422", "503"}
    assert document["components"]["schemas"]["ProblemBody"]["required"] == ["error", "detail"]


def test_urls_in_json_begin_with_the_base_url_when_there_is_one(start_site: StartSite) -> None:
    site = start_site(base_url="https://scope.example/")
    assert site.get("/api/v1/tiny/1/0").json()["url"] == "https://scope.example/tiny/1/0?token=cls"
    assert 'href="/tiny/1' in site.get("/tiny").text
