"""An index that the indexer made, behind the real server: so small that no feature of it is active.

An image is said to be what the index stores of it, although its thumbnail is lossy.
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.pipeline import run_index
from scopeview import open_index
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.sample_images import API, form
from tests.indexer.worlds import request, save_weights

N_IMAGES, LAYERS = 8, (1, 3)


@pytest.fixture(scope="module")
def noisy_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of images that a lossy thumbnail changes: at the maximum of a feature it says something else."""
    folder = tmp_path_factory.mktemp("noisy")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(N_IMAGES):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC)
        noise = random.integers(-40, 41, (160, 160, 3))
        noisy = (np.asarray(smooth).astype(int) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{number:02d}.png")
    run_index(request(folder / "images", save_weights(folder), folder / "tiny", slug="tiny"))
    return folder / "tiny"


@pytest.fixture
def site(start_site: StartSite, noisy_index: Path) -> TestClient:
    return start_site(index_dirs=[noisy_index], real_encoder=True, encoder_device="cpu")


def ask(site: TestClient, address: str, **query: Any) -> Any:
    answer = site.get(address, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored_codes(site: TestClient, image_id: int) -> dict[tuple[Any, str], Any]:
    codes = ask(site, f"/api/v1/tiny/images/{image_id}")["codes"]
    return {(code["layer"], code["token"]): code for code in codes}


def triples(features: Any) -> list[tuple[int, float, int | None]]:
    return [(each["feature"], each["activation"], each["position"]) for each in features]


@pytest.mark.parametrize("layer", LAYERS)
def test_what_fires_anywhere_is_what_the_index_stores(site: TestClient, layer: int) -> None:
    for image_id in range(N_IMAGES):
        code = stored_codes(site, image_id)[layer, "any"]
        found = ask(site, f"/api/v1/tiny/images/{image_id}/activations", layer=layer, top=2000)
        listed, n_active = code["features"], code["n_active"]
        assert triples(found["features"])[: len(listed)] == triples(listed)
        assert (len(found["features"]), found["n_active"]) == (n_active, n_active)
        assert (found["activations"], found["approximate_features"]) == ("stored", [])
        assert found["approximate"] is True  # shares and heat


def remove(path: Path) -> None:
    path.unlink()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [remove, flip_a_bit])
def test_without_the_shards_codes_the_weaker_features_stand_apart_and_are_approximate(
    start_site: StartSite, noisy_index: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    copy = shutil.copytree(noisy_index, tmp_path / "copy")
    for path in copy.glob("shards/*/codes-*-any.parquet"):
        spoil(path)
    site = start_site(index_dirs=[copy], real_encoder=True, encoder_device="cpu")
    code = stored_codes(site, 4)[1, "any"]
    found = ask(site, "/api/v1/tiny/images/4/activations", layer=1, top=2000)
    assert triples(found["features"]) == triples(code["features"])
    assert found["n_active"] == code["n_active"]
    lowest = code["features"][-1]["activation"]
    assert found["approximate_features"]
    assert all(each["activation"] < lowest for each in found["approximate_features"])
    page = site.get("/tiny/images/4/activations?layer=1&top=100").text
    assert page.index('id="weaker"') > page.index("data-feature")


@pytest.mark.parametrize("layer", LAYERS)
def test_heat_is_highest_where_the_index_says_and_as_high(site: TestClient, layer: int) -> None:
    for image_id in range(N_IMAGES):
        codes = stored_codes(site, image_id)
        at_cls = {each["feature"]: each["activation"] for each in codes[layer, "cls"]["features"]}
        for feature, activation, position in triples(codes[layer, "any"]["features"][:3]):
            of_feature = ask(site, f"/api/v1/tiny/{layer}/{feature}/heat", images=image_id)["heats"][0]
            of_image = ask(site, f"/api/v1/tiny/images/{image_id}/heat", layer=layer, features=feature)
            for heat in (of_feature, of_image):
                values = [heat["cls"], *heat["patches"]]
                assert (heat["max"], values.index(max(values))) == (activation, position)
                assert max(heat["cls"], 0) == max(at_cls.get(feature, 0), 0)


def test_a_feature_that_the_index_does_not_list_has_the_maximum_that_it_stores(
    site: TestClient, noisy_index: Path
) -> None:
    code = stored_codes(site, 4)[1, "any"]
    listed = {each["feature"] for each in code["features"]}
    found = open_index(noisy_index).activations_on(Slot(1, "any"), range(256), [4])
    weaker = [each for (feature, _), each in found.items() if feature not in listed]
    assert weaker
    for each in weaker[:5]:
        heat = ask(site, "/api/v1/tiny/images/4/heat", layer=1, features=each.feature)
        values = [heat["cls"], *heat["patches"]]
        assert (max(values), values.index(max(values))) == (each.activation, each.position)


def test_no_image_of_the_index_is_called_stronger_than_all_of_them(site: TestClient) -> None:
    for image_id in range(N_IMAGES):
        for feature, activation, _ in triples(stored_codes(site, image_id)[3, "any"]["features"][:2]):
            page = site.get(f"/tiny/3/{feature}?token=any&image={image_id}").text
            assert f'value="{activation!r}"' in page.split('id="pinned-image"')[1]
            assert "stronger than" not in page
            page = site.get(f"/tiny/images/{image_id}/activations?layer=3&tokens=any&feature={feature}").text
            assert f'value="{activation!r}"' in page
            assert "stronger than" not in page


def test_what_is_computed_again_from_a_thumbnail_is_said_to_be_approximate(site: TestClient) -> None:
    url = "/tiny/images/4"
    at_patch = site.get(f"{url}/activations?layer=3&tokens=20").text
    assert "All values here are approximate" in at_patch
    exact = site.get(f"{url}/activations?layer=3&tokens=cls").text
    assert "Activations and shares are stored in the index" in exact
    for part in ("activations?layer=3&tokens=any", "groups?layer=3", "layers?tokens=any", "steering?layer=3"):
        assert "pproximate" in site.get(f"{url}/{part}").text
    assert ask(site, f"/api/v1{url}/activations", layer=3, tokens="20")["activations"] == "approximate"
    assert ask(site, f"/api/v1{url}/groups", layer=3, tokens="cls")["approximate"] is False
    assert ask(site, f"/api/v1{url}/groups", layer=3)["approximate"] is True


def test_nothing_of_an_upload_is_approximate(site: TestClient) -> None:
    upload = site.post(API, files=form(_noise())).json()["url"]
    for part in ("activations?layer=3", "groups?layer=3", "layers?tokens=any", "steering?layer=3"):
        assert "pproximate" not in site.get(f"{upload}/{part}").text
    found = ask(site, f"/api/v1{upload}/activations", layer=3, tokens="20")
    assert (found["approximate"], found["activations"]) == (False, "stored")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/1",
        "/1?token=any&sort=score",
        "/1/0",
        "/1/0?token=any&near=1",
        "/embed/0",
        "/1/map",
        "/images/3",
        "/images/3/similar",
        "/images/3/compare?with=4",
        "/images/3/activations?layer=1&tokens=any&feature=0",
        "/images/3/groups",
        "/images/3/layers",
        "/images/3/steering?edit=0:1&prompt=a+red+circle",
        "/compare?features=1:0,3:0",
        "/search",
        "/search?q=red+circle",
        "/search?q=red+circle&layer=1&token=any",
        "/search?q=5",
        "/search?image=3",
    ],
)
def test_no_page_fails_where_no_feature_is_active(site: TestClient, address: str) -> None:
    for url in (f"/tiny{address}", f"/api/v1/tiny{address}"):
        assert site.get(url).status_code in (200, 404), url
    assert site.get(f"/tiny{address}").status_code == 200


def test_where_no_feature_is_active_search_finds_images(site: TestClient) -> None:
    found = ask(site, "/api/v1/tiny/search", q="red circle")
    assert found["features"] == []
    assert len(found["images"]) == N_IMAGES
    assert ask(site, "/api/v1/tiny/search", image=3)["features"] == []


def _noise() -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(7).integers(0, 256, (140, 140, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
