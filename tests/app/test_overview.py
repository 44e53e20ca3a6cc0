"""The overview of an index: counts, published figures, densities, striking features; and the same as JSON."""

import re
from collections import Counter
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.pages.home import evenly
from app.services.highlights import diversify
from scopeview.slots import Layer, Slot
from scopeview.store.manifest import read_manifest, write_manifest
from scopeview.store.records import FeatureCard
from tests.app.conftest import StartSite
from tests.app.described_index import active, told, write_described_index
from tests.app.index import N_FEATURES, N_IMAGES, SmallIndex, write_index


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


def test_striking_features_are_clear_and_well_named_of_names_that_are_their_own(
    told_site: TestClient, told_index: SmallIndex
) -> None:
    slot = Slot(1, "cls")
    n_active = (told_index.dense[slot] > 0).sum(axis=0)
    known = [at for at in active(told_index, slot) if told(slot, at).clarity is not None]
    known = [at for at in known if n_active[at] <= N_IMAGES / 4] or known
    by_clarity = sorted(known, key=lambda at: (told(slot, at).clarity, at))
    by_score = sorted(known, key=lambda at: (told(slot, at).scores[0], at))
    lower = {at: min(by_clarity.index(at), by_score.index(at)) for at in known}
    better = sorted(known, key=lambda at: (-lower[at], at))[: max(len(known) // 2, 16)]
    words = {at: set(re.findall(r"\w+", told(slot, at).names[0].lower())) for at in known}
    common = Counter(word for each in words.values() for word in each)
    own = sorted(better, key=lambda at: max(common[word] for word in words[at]))
    expected = list[int]()
    while left := [
        at for at in own if all(told(slot, at).names[0] != told(slot, e).names[0] for e in expected)
    ]:
        unlike = [at for at in left if all(words[at].isdisjoint(words[each]) for each in expected)]
        expected.append((unlike or left)[0])
    assert len(expected) >= 4
    found = told_site.get("/api/v1/told").json()["layers"][0]["striking"]
    assert [each["feature"] for each in found] == expected
    shown = re.findall(r'<h3><a href="/told/1/([0-9]+)\?', told_site.get("/told").text)
    assert [int(at) for at in shown] == expected


def cards_named(*names: str | None, layer: int = 1) -> list[FeatureCard]:
    return [FeatureCard(layer, "cls", at, 64, 9, 1.0, [], name=name) for at, name in enumerate(names)]


def test_a_choice_takes_of_each_layer_in_turn_what_shares_no_word_with_the_others() -> None:
    deep = cards_named("a plain red background", "a plain blue background", "a red heart", "a fish", layer=5)
    early = cards_named("A FISH", "snow on a background", "night", layer=1)
    assert [card.name for card in diversify([deep, early], 9)] == [
        "a plain red background",
        "A FISH",
        "a plain blue background",  # nothing of its layer is unlike those two
        "night",
        "a red heart",
        "snow on a background",
    ]
    assert [card.name for card in diversify([deep, early], 3)][-1] == "a plain blue background"
    assert diversify([[], early], 1) == early[:1]
    assert diversify([cards_named(None, None)], 2) == cards_named(None, None)


@pytest.mark.parametrize(
    ("layers", "expected"), [([22, 20, 17, 14, 11, 8, 5, 2], [22, 17, 8, 2]), ([5, 1], [5, 1]), ([7], [7])]
)
def test_layers_far_apart_stand_for_all(layers: list[Layer], expected: list[Layer]) -> None:
    assert evenly(layers, 4) == expected


def test_the_home_page_shows_features_of_every_block_and_no_name_twice(told_site: TestClient) -> None:
    page = told_site.get("/").text
    shown = re.findall(r'<h3><a href="/told/([0-9a-z]+)/', page)
    names = re.findall(r'<p class="feature-word" dir="auto" title="([^"]*?),', page)
    assert len(shown) == len(names) == len(set(names)) == 4
    assert set(shown) == {"1", "3"}
    assert page == told_site.get("/").text


def test_without_descriptions_a_sample_stands_for_them_and_the_page_says_so(site: TestClient) -> None:
    found = site.get("/api/v1/tiny").json()["layers"][0]["striking"]
    assert len(found) == 6
    page = site.get("/tiny").text
    assert "random sample" in page
    assert "/map" not in page


def test_a_described_index_leads_to_its_maps(told_site: TestClient) -> None:
    page = told_site.get("/told").text
    assert 'href="/told/1/map?token=137"' in page
    assert "rank high in clarity and name score" in page


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


def test_an_sae_without_a_k_says_how_many_features_it_keeps_at_most(
    start_site: StartSite, tmp_path: Path
) -> None:
    index_dir = write_index(tmp_path / "dense", slug="dense").index_dir
    manifest = read_manifest(index_dir)
    first, second, *others = manifest.layers
    bounded = first.model_copy(update={"architecture": "jumprelu", "k": None, "max_active": 4096})
    layers = [bounded, second.model_copy(update={"architecture": "relu", "k": None}), *others]
    write_manifest(index_dir, manifest.model_copy(update={"layers": layers}))
    page = start_site(index_dirs=[index_dir]).get("/dense").text
    assert "jumprelu" in page
    assert 'up to this many">≤ ' in page
    assert '<data value="4096">4,096</data>' in page
    assert ">no limit<" in page  # of an index that was made before there was a bound


def test_an_unmeasured_layer_says_so(site: TestClient) -> None:
    assert "not measured" in site.get("/tiny").text
