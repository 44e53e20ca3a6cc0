"""Every active feature in columns: as JSON, packed, and as the map and the scatter plot fetch it."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load
from starlette.testclient import TestClient

from scopeview.slots import Slot
from scopeview.store.manifest import read_manifest, write_manifest
from tests.app.conftest import StartSite
from tests.app.described_index import active, told, write_described_index
from tests.app.index import N_IMAGES, SmallIndex

SLOT = Slot(1, "any")
PACKED = "/api/v1/told/1/points.safetensors?token=any"


@pytest.fixture(scope="module")
def told_index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_described_index(tmp_path_factory.mktemp("points") / "told")


@pytest.fixture
def told_site(start_site: StartSite, told_index: SmallIndex) -> TestClient:
    return start_site(index_dirs=[told_index.index_dir])


def header_of(packed: bytes) -> dict[str, str]:
    length = int.from_bytes(packed[:8], "little")
    found: dict[str, str] = json.loads(packed[8 : 8 + length])["__metadata__"]
    return found


def test_points_are_the_active_features_with_their_figures(
    told_site: TestClient, told_index: SmallIndex
) -> None:
    answer = told_site.get("/api/v1/told/1/points?token=any").json()
    features = active(told_index, SLOT)
    dense = told_index.dense[SLOT][:, features]
    assert answer["feature"] == features
    assert answer["n_images"] == N_IMAGES
    assert answer["n_active"] == (dense > 0).sum(axis=0).tolist()
    assert answer["max_activation"] == dense.max(axis=0).tolist()
    for column, name in (("clarity", "clarity"), ("selectivity", "selectivity"), ("x", "x"), ("y", "y")):
        assert answer[column] == [getattr(told(SLOT, feature), name) for feature in features]
    assert answer["name"] == [told(SLOT, feature).names[0] for feature in features]
    assert answer["name_score"] == [told(SLOT, feature).scores[0] for feature in features]


def test_the_packed_columns_are_those_of_the_json(told_site: TestClient) -> None:
    answer = told_site.get("/api/v1/told/1/points?token=any").json()
    packed = told_site.get(PACKED).content
    columns = load(packed)
    for name in ("feature", "n_active"):
        assert columns[name].tolist() == answer[name]
    for name in ("max_activation", "clarity", "selectivity", "name_score", "x", "y"):
        expected = np.array([np.nan if value is None else value for value in answer[name]], np.float32)
        np.testing.assert_array_equal(columns[name], expected)
    words = [*json.loads(header_of(packed)["words"]), None]
    assert [words[at] for at in columns["word"]] == answer["name"]
    assert header_of(packed)["n_images"] == str(N_IMAGES)


def test_an_index_that_was_not_described_has_points_without_figures(site: TestClient) -> None:
    answer = site.get("/api/v1/tiny/1/points").json()
    assert set(answer["clarity"]) == set(answer["x"]) == set(answer["name"]) == {None}
    columns = load(site.get("/api/v1/tiny/1/points.safetensors").content)
    assert np.isnan(columns["clarity"]).all()
    assert set(columns["word"].tolist()) == {-1}


def test_a_name_leaves_the_features_that_have_it(told_site: TestClient, told_index: SmallIndex) -> None:
    answer = told_site.get("/api/v1/told/1/points?token=any&name=blUE").json()
    expected = [at for at in active(told_index, SLOT) if "blue" in " ".join(told(SLOT, at).names).lower()]
    assert answer["feature"] == expected
    assert len(answer["name"]) == len(answer["x"]) == len(expected)
    assert told_site.get("/api/v1/told/1/points?token=any&name=nowhere").json()["feature"] == []


def test_packed_points_are_kept_by_a_browser_and_compressed_once(told_site: TestClient) -> None:
    plain = told_site.get(PACKED, headers={"Accept-Encoding": "identity"})
    zipped = told_site.get(PACKED)  # the client takes gzip and unpacks it
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert zipped.content == plain.content
    assert int(zipped.headers["content-length"]) == len(gzip.compress(plain.content, 5, mtime=0))
    assert plain.headers["etag"] != zipped.headers["etag"]
    assert plain.headers["vary"] == "Accept-Encoding, Origin"
    again = told_site.get(PACKED, headers={"If-None-Match": zipped.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_address_on_a_page_names_a_version(start_site: StartSite, tmp_path: Path) -> None:
    """Described again, an index of the same name has another."""
    first, second = (write_described_index(tmp_path / name, slug=name) for name in ("one", "two"))
    other = second.index_dir / "described-11111111.duckdb"
    (second.index_dir / "described-00000000.duckdb").rename(other)
    manifest = read_manifest(second.index_dir)
    assert manifest.describe is not None
    renamed = manifest.describe.model_copy(update={"database": other.name})
    write_manifest(second.index_dir, manifest.model_copy(update={"describe": renamed}))
    site = start_site(index_dirs=[first.index_dir, second.index_dir])
    versions = [
        site.get(f"/{slug}/1/map").text.split("points.safetensors?")[1][:40] for slug in ("one", "two")
    ]
    assert versions[0] != versions[1]
    for slug, version in zip(("one", "two"), versions, strict=True):
        query = version.partition('"')[0].replace("&amp;", "&")
        answer = site.get(f"/api/v1/{slug}/1/points.safetensors?{query}")
        assert "immutable" in answer.headers["cache-control"]


def test_an_unknown_layer_or_token_is_refused(told_site: TestClient) -> None:
    for ending in ("points", "points.safetensors"):
        assert told_site.get(f"/api/v1/told/2/{ending}").status_code == 404
        assert told_site.get(f"/api/v1/told/1/{ending}?token=5").status_code == 422
