"""The real encoder behind the real server: a photograph that was indexed, sent again, has the same codes."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from indexer.pipeline import run_index
from indexer.sources import Sample, open_source
from scopeview.images import ImageLimits, decode
from tests.app.conftest import StartSite
from tests.app.sample_images import API, form
from tests.conftest import PROJECT_DIR
from tests.image_sets import ImageSets
from tests.indexer.worlds import request, save_weights

N_IMAGES = 24


@pytest.fixture(scope="module")
def photos_index(drawn_images: ImageSets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    index_dir = folder / "tiny"
    asked = request(drawn_images.photos, save_weights(folder), index_dir, limit=N_IMAGES, slug="tiny")
    run_index(asked)
    return index_dir


@pytest.fixture
def site(start_site: StartSite, photos_index: Path) -> TestClient:
    return start_site(index_dirs=[photos_index], real_encoder=True, encoder_device="cpu")


@pytest.fixture(scope="module")
def photos(drawn_images: ImageSets) -> list[Sample]:
    samples = [
        sample
        for shard in open_source(drawn_images.photos).shards
        for sample in shard.samples()
        if isinstance(sample, Sample)
    ]
    return samples[:N_IMAGES]


def test_an_upload_has_the_codes_of_the_same_image_in_the_index(
    site: TestClient, photos: list[Sample]
) -> None:
    for image_id in (0, 11):
        uploaded = site.post(API, files=form(photos[image_id].image)).json()["codes"]
        indexed = site.get(f"/api/v1/tiny/images/{image_id}").json()["codes"]
        assert len(uploaded) == len(indexed) == 7
        for ours, theirs in zip(uploaded, indexed, strict=True):
            assert (ours["layer"], ours["token"]) == (theirs["layer"], theirs["token"])
            assert ours["features"][0]["feature"] == theirs["features"][0]["feature"]
            np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-3)  # batches of another size


def values(code: dict[str, list[dict[str, float]]]) -> list[float]:
    return [pair["activation"] for pair in code["features"]]


def active(code: Any) -> dict[int, float]:
    return {pair["feature"]: pair["activation"] for pair in code["features"] if pair["activation"] > 0}


@pytest.mark.parametrize("token", ["cls", "137"])
def test_activations_of_an_indexed_image_are_the_codes_of_the_index(site: TestClient, token: str) -> None:
    codes = site.get("/api/v1/tiny/images/11").json()["codes"]
    for layer in (1, 3):
        (indexed,) = [code for code in codes if (code["layer"], code["token"]) == (layer, token)]
        listed = site.get(f"/api/v1/tiny/images/11/activations?layer={layer}&tokens={token}&top=500").json()
        assert active(listed) == active(indexed)
        assert [one["feature"] for one in listed["features"]] == list(active(indexed))


def test_groups_of_a_real_image_partition_its_features(site: TestClient, photos: list[Sample]) -> None:
    url = site.post(API, files=form(photos[5].image)).json()["url"]
    for query in ("layer=1", "layer=3&tokens=17-40", "layer=embed"):
        listed = site.get(f"/api/v1{url}/activations?{query}&top=500").json()
        groups = site.get(f"/api/v1{url}/groups?{query}").json()["groups"]
        together = sorted(feature for group in groups for feature in group["features"])
        assert together == sorted(one["feature"] for one in listed["features"])
        assert len(together) == listed["n_active"]
        assert sum(group["share"] for group in groups) == pytest.approx(1, abs=1e-9)
        assert sum(group["mass"] for group in groups) == pytest.approx(listed["mass"])


def test_an_upload_left_as_it_is_keeps_its_embedding(site: TestClient, photos: list[Sample]) -> None:
    url = site.post(API, files=form(photos[5].image)).json()["url"]
    for query in ("layer=1", "layer=3&edit=0,1,2,3:x1", "layer=embed"):
        assert site.get(f"/api/v1{url}/steering?{query}").json()["cosine"] == pytest.approx(1, abs=1e-9)


def test_sixteen_bit_greyscale_is_read_as_the_index_read_it(
    start_site: StartSite, photos_index: Path, photos: list[Sample], tmp_path: Path
) -> None:
    """Scaled, as an index of today has it; cut off at 255 for one of which nothing is recorded."""
    old = tmp_path / "tiny"
    shutil.copytree(photos_index, old)
    manifest = json.loads((old / "manifest.json").read_bytes())
    del manifest["model"]["preprocessing"]["grey_16_bit"]
    del manifest["sha256"]  # an older version wrote none
    (old / "manifest.json").write_text(json.dumps(manifest))
    grey = np.asarray(decode(photos[3].image, ImageLimits()).image.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) << 8)
    cut_off = np.where(grey > 0, 255, 0).astype(np.uint8)
    for index_dir, levels, how in ((photos_index, grey, "scaled"), (old, cut_off, "clipped")):
        site = start_site(index_dirs=[index_dir], real_encoder=True, encoder_device="cpu")
        of_deep, of_levels = (
            site.post(API, files=form(png(image))).json() for image in (deep, Image.fromarray(levels))
        )
        assert site.get(of_deep["picture_url"]).content == site.get(of_levels["picture_url"]).content
        assert (of_deep["grey_16_bit"], of_levels["grey_16_bit"]) == (how, None)
        marks = ["clips such images" in site.get(each["url"]).text for each in (of_deep, of_levels)]
        assert marks == [how == "clipped", False]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_kept_is_the_square_that_the_model_saw(site: TestClient, photos: list[Sample]) -> None:
    url = site.post(API, files=form(photos[3].image)).json()["picture_url"]
    index = site.app.state.site.indexes["tiny"]  # type: ignore[attr-defined]
    crop = site.app.state.site.worker.encoder(index.reader.index_dir).crop(  # type: ignore[attr-defined]
        decode(photos[3].image, ImageLimits()).image
    )
    kept = decode(site.get(url).content, ImageLimits()).image
    np.testing.assert_array_equal(np.asarray(kept), crop.transpose(1, 2, 0))


def test_pages_are_served_without_torch(photos_index: Path, tmp_path: Path) -> None:
    """In a process of its own, since torch is long imported in this one."""
    script = f"""
import sys
from pathlib import Path
sys.modules["torch"] = None  # importing it fails, as where it is not installed
from starlette.testclient import TestClient
from app.main import create_app
from app.settings import Settings
settings = Settings(index_dirs=[Path({str(photos_index)!r})], upload_dir=Path({str(tmp_path)!r}))
with TestClient(create_app(settings)) as site:
    assert site.get("/tiny/3/0").status_code == 200
    image = site.get("/tiny/thumbs/0.webp").content
    answer = site.post("/api/v1/tiny/uploads", files={{"image": ("a", image)}})
    assert answer.status_code == 503, answer.text
    assert "not installed" in answer.json()["detail"], answer.text
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    ran = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
