"""Indexes of models that are no CLIP, from the images to the pages: all but names is as with one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from transformers import AutoModel

from indexer.pipeline import run_index
from scopeview import open_index
from scopeview.importers import load_sae, read_suite
from scopeview.slots import EMBED, Slot
from scopeview.vision.clip import Clip
from tests.app.conftest import StartSite
from tests.app.sample_images import API, form
from tests.indexer.worlds import request
from tests.models import save_random_vit
from tests.saes import save_random_native

N_IMAGES, WIDTH, K = 12, 64, 8
SLOTS = {Slot(1, "cls"), Slot(1, "20"), Slot(3, "cls"), Slot("embed", "cls")}
N_REGISTERS = {"dinov2_with_registers": 4, "dinov3_vit": 4}


@pytest.fixture(
    scope="module",
    params=[pytest.param("dinov2_with_registers", marks=pytest.mark.slow), "dinov3_vit", "vit"],
)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`images`, `model`, `saes`, and what was made of them: `tiny`."""
    folder = tmp_path_factory.mktemp(family)
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    for number in range(N_IMAGES):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((160, 130), Image.Resampling.BICUBIC)
        image.save(folder / "images" / f"{number:02d}.png")
    save_random_vit(folder / "model", family)
    for layer in (1, 3):
        save_random_native(folder / "saes", layer=layer, d_in=WIDTH, n_features=128, k=K, seed=layer)
    save_random_native(folder / "saes", layer="embed", d_in=WIDTH, n_features=128, k=K, seed=9)
    weights = folder / "model", folder / "saes"
    run_index(request(folder / "images", weights, folder / "tiny", slug="tiny", tokens=("cls", "20", "any")))
    return folder


@pytest.fixture
def site(start_site: StartSite, folder: Path) -> TestClient:
    return start_site(index_dirs=[folder / "tiny"], real_encoder=True, encoder_device="cpu")


def test_codes_are_the_sae_s_of_the_hidden_states_of_transformers(family: str, folder: Path) -> None:
    clip = Clip.load(str(folder / "model"))
    crop = clip.preprocessing.crop(Image.open(folder / "images" / "05.png").convert("RGB"))
    reference = AutoModel.from_pretrained(folder / "model").eval()
    with torch.no_grad():
        states = reference(clip.normalize(torch.from_numpy(crop)[None]), output_hidden_states=True)
    saes = {source.layer: load_sae(source) for source in read_suite(str(folder / "saes")).sources}
    first_patch = 1 + N_REGISTERS.get(family, 0)
    rows = {"cls": 0, "20": first_patch + 19}
    with open_index(folder / "tiny") as index:
        codes = index.codes(5)
    assert set(codes) >= SLOTS
    for slot in SLOTS:
        state = states.last_hidden_state if slot.layer == EMBED else states.hidden_states[slot.layer + 1]
        expected = saes[slot.layer].encode(state[:, rows[slot.token]])
        found = [(each.feature, each.activation) for each in codes[slot].features]
        assert [feature for feature, _ in found] == expected.features[0].tolist()
        np.testing.assert_allclose([value for _, value in found], expected.values[0], rtol=1e-3)


def test_pages_and_json_show_what_there_is(site: TestClient) -> None:
    manifest = site.get("/api/v1/tiny").json()
    assert manifest["model"]["n_layers"] == 4
    for url in ("/tiny", "/tiny/1", "/tiny/1/3?token=any", "/tiny/embed", "/tiny/images/5", "/tiny/1/map"):
        assert site.get(url).status_code == 200, url
    grid = manifest["model"]["image_px"] // manifest["model"]["patch_px"]
    listed = site.get("/api/v1/tiny/images/5/activations?layer=3&tokens=any").json()["features"]
    feature = listed[0]["feature"]
    heat = site.get(f"/api/v1/tiny/images/5/heat?layer=3&tokens=any&features={feature}").json()
    assert len(heat["patches"]) == grid**2
    assert max(heat["cls"], *heat["patches"]) == pytest.approx(listed[0]["activation"], rel=0.2)


def test_an_upload_is_encoded_grouped_and_steered(site: TestClient, folder: Path) -> None:
    url = site.post(API, files=form((folder / "images" / "07.png").read_bytes())).json()["url"]
    stored = {(one["layer"], one["token"]): one for one in site.get("/api/v1/tiny/images/7").json()["codes"]}
    for code in site.get(f"/api/v1{url}").json()["codes"]:
        found, kept = code["features"], stored[code["layer"], code["token"]]["features"]
        assert [each["feature"] for each in found] == [each["feature"] for each in kept]
    first = stored[1, "cls"]["features"][0]["feature"]
    assert site.get(f"/api/v1{url}/groups?layer=3").json()["groups"]
    for edit, unchanged in ((f"{first}:x1", True), (f"{first}:x0", False)):
        steered = site.get(
            f"/api/v1{url}/steering?layer=1&edit={edit}&tokens=any&prompt=dog&prompt=cat"
        ).json()
        assert (steered["cosine"] == pytest.approx(1, abs=1e-9)) == unchanged
        assert steered["why_no_prompts"]


def test_search_in_words_says_why_there_is_none(site: TestClient) -> None:
    assert "the model of this index has no text encoder" in site.get("/tiny/search?q=dog").text
