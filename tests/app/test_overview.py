"""The overview of an index: counts, published figures, densities, striking features; and the same as JSON."""

import re
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from scopeview.slots import Slot
from scopeview.store.manifest import read_manifest, write_manifest
from tests.app.conftest import StartSite
from tests.app.described_index import active, told, write_described_index
from tests.app.index import N_FEATURES, SmallIndex, write_index


@pytest.fixture(scope="module")
def told_index(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_described_index(tmp_path_factory.mktemp("overview") / "told")


@pytest.fixture
def told_site(start_site: StartSite, told_index: SmallIndex) -> TestClient:
    return start_site(index_dirs=[told_index.index_dir])


def test_counts_and_densities_are_those_of_the_tables(told_site: TestClient, told_index: SmallIndex) -> None:
    page = told_site.get("/told").text
    for layer in told_site.get("/api/v1/told").json()["layers"]:
        for slot in layer["tokens"]:
            n_active = (told_index.dense[Slot(layer["layer"], slot["token"])] > 0).sum(axis=0)
            assert slot["n_live"] + slot["n_dead"] == slot["n_features"] == N_FEATURES
            assert slot["n_dead"] == (n_active == 0).sum()
            for each in slot["densities"]:
                inside = (n_active >= each["low"]) & (n_active <= each["high"])
                assert each["n_features"] == inside.sum()
            counts = [f'<data value="{slot[name]}">' for name in ("n_active", "n_live", "n_dead")]
            assert re.search(".*?".join(map(re.escape, counts)), page, re.S)


def test_striking_features_are_clear_and_well_named_and_differ_in_name(
    told_site: TestClient, told_index: SmallIndex
) -> None:
    slot = Slot(1, "cls")
    figures = {at: told(slot, at).clarity for at in active(told_index, slot)}
    clear = {at: figure for at, figure in figures.items() if figure is not None}
    known = list(clear)
    clarity = np.argsort(np.argsort(list(clear.values()), kind="stable"), kind="stable")
    score = np.argsort(np.argsort([told(slot, at).scores[0] for at in known], kind="stable"), kind="stable")
    lower = dict(zip(known, np.minimum(clarity, score), strict=True))
    expected = list[int]()
    for at in sorted(known, key=lambda at: (-lower[at], at)):
        if told(slot, at).names[0] not in {told(slot, other).names[0] for other in expected}:
            expected.append(at)
    found = told_site.get("/api/v1/told").json()["layers"][0]["striking"]
    assert [each["feature"] for each in found] == expected[:6]
    shown = re.findall(r'<h3><a href="/told/1/([0-9]+)\?', told_site.get("/told").text)
    assert [int(at) for at in shown] == expected[:6]


def test_without_descriptions_a_sample_stands_for_them_and_the_page_says_so(site: TestClient) -> None:
    found = site.get("/api/v1/tiny").json()["layers"][0]["striking"]
    assert len(found) == 6
    page = site.get("/tiny").text
    assert "drawn at random" in page
    assert "/map" not in page


def test_a_described_index_leads_to_its_maps(told_site: TestClient) -> None:
    page = told_site.get("/told").text
    assert 'href="/told/1/map?token=137"' in page
    assert "clearest and best named" in page


def test_figures_stand_beside_the_published_ones(start_site: StartSite, tmp_path: Path) -> None:
    index_dir = write_index(tmp_path / "suite", slug="suite").index_dir
    manifest = read_manifest(index_dir)
    of_the_suite = {"layer": 22, "sae_file": "22_resid/1200013184.pt", "d_in": 1024, "n_features": 65_536}
    layers = [manifest.layers[0].model_copy(update=of_the_suite), *manifest.layers[1:]]
    write_manifest(index_dir, manifest.model_copy(update={"layers": layers}))
    site = start_site(index_dirs=[index_dir])
    first, second, _ = site.get("/api/v1/suite").json()["layers"]
    assert first["published"] == {"explained_variance": 0.684, "mse": 299.96}
    assert second["published"] is None
    page = site.get("/suite").text
    assert page.count("published <data") == 2
    assert 'published <data value="299.96" title="299.96">300</data>' in page
    assert "10,000,000 tokens" in page


def test_an_unmeasured_layer_says_so(site: TestClient) -> None:
    assert "not measured" in site.get("/tiny").text
