"""The HTML pages: what each is given, what it shows, and that hostile words stay words."""

import re
from dataclasses import fields
from pathlib import Path

import jinja2
import pytest
from jinja2 import meta
from starlette.testclient import TestClient

from app.assets import TEMPLATES_DIR
from app.pages.api_help import ApiPage
from app.pages.compare import ComparePage
from app.pages.error import ProblemPage
from app.pages.feature import EmbedPage, FeaturePage
from app.pages.gallery import GalleryPage
from app.pages.glossary import GlossaryPage
from app.pages.home import HomePage, IndexPage
from app.pages.image.activations import ActivationsPage
from app.pages.image.compare import ImageComparePage
from app.pages.image.groups import GroupsPage
from app.pages.image.layers import LayersPage
from app.pages.image.overview import ImagePage
from app.pages.image.similar import SimilarPage
from app.pages.image.steering import SteeringPage
from app.pages.map import MapPage
from app.pages.render import Page, environment
from app.pages.report import ReportPage
from app.pages.search import SearchPage, WhichIndexPage
from app.pages.styleguide.routes import PatternsPage
from app.pages.uploads import DeletePage, UploadFormPage, UploadPage
from scopeview.sae.model_match import ModelMatch
from scopeview.store.manifest import TrainedOnRecord, read_manifest, write_manifest
from tests.app.conftest import StartSite
from tests.app.index import FEW_IMAGES, NEVER_FIRES, UNSAFE_IMAGE, write_index

PAGES: list[type[Page]] = [
    HomePage,
    IndexPage,
    GalleryPage,
    MapPage,
    FeaturePage,
    EmbedPage,
    ImagePage,
    ActivationsPage,
    GroupsPage,
    LayersPage,
    SteeringPage,
    SimilarPage,
    ImageComparePage,
    UploadFormPage,
    UploadPage,
    DeletePage,
    ProblemPage,
    ApiPage,
    GlossaryPage,
    SearchPage,
    WhichIndexPage,
    ComparePage,
    ReportPage,
    PatternsPage,
]
ADDRESSES = [
    "/",
    "/tiny",
    "/tiny/1",
    "/tiny/1?token=any&min_images=0&page=2",
    "/tiny/3?sort=random&seed=4",
    "/tiny/embed?sort=max&plot=1",
    "/tiny/1/map",
    "/tiny/embed/map?name=a&feature=3&color=clarity",
    "/tiny/1/0",
    "/tiny/1/0?token=any&page=2",
    f"/tiny/1/{NEVER_FIRES}",
    f"/tiny/3/{FEW_IMAGES}?token=137",
    "/tiny/images/0",
    "/tiny/images/5?layer=3&token=any",
    "/tiny/images/63?layer=embed",
    "/tiny/images/5/activations?layer=3&tokens=17,33-35&feature=2&order=mass",
    "/tiny/images/5/activations?layer=embed",
    "/tiny/images/5/groups?layer=3&tokens=137&group=1",
    "/tiny/images/5/layers?tokens=137",
    "/tiny/images/5/compare?with=9&layer=3",
    "/tiny/uploads",
    "/api",
    "/glossary",
    "/tiny/search",
    "/tiny/search?q=heart&token=any",
    "/tiny/search?q=5",
    "/tiny/compare",
    "/tiny/compare?features=1:0,3:2:any&note=a+note",
    "/tiny/images/5/report",
    "/patterns",
]


def names_used(env: jinja2.Environment, template: str) -> set[str]:
    """Names that a template and what it builds on expect from outside."""
    assert env.loader is not None
    tree = env.parse(env.loader.get_source(env, template)[0])
    used = meta.find_undeclared_variables(tree) - set(env.globals)
    for other in meta.find_referenced_templates(tree):
        used |= names_used(env, other) if other else set()
    return used


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_a_template_uses_exactly_the_fields_its_context_declares(page: type[Page]) -> None:
    assert names_used(environment(), page.template) == {field.name for field in fields(page)}


def test_every_page_template_has_a_context() -> None:
    texts = {
        path.relative_to(TEMPLATES_DIR): path.read_text("utf-8") for path in TEMPLATES_DIR.rglob("*.html")
    }
    on_disk = {
        str(path) for path, text in texts.items() if text.startswith("{% extends") or "<!doctype" in text
    }
    assert on_disk - {"base.html"} == {page.template for page in PAGES}


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_page_answers_get_and_head_alike(site: TestClient, address: str) -> None:
    got, head = site.get(address), site.head(address)
    assert got.status_code == head.status_code == 200
    assert got.headers["content-type"] == head.headers["content-type"] == "text/html; charset=utf-8"
    assert got.text.startswith("<!doctype html>")
    assert head.content == b""


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_page_has_inline_script_style_or_handlers(site: TestClient, address: str) -> None:
    html = site.get(address).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", html)


def test_links_of_every_page_lead_somewhere(site: TestClient) -> None:
    seen, waiting = set[str](), ["/"]
    while waiting and len(seen) < 250:
        address = waiting.pop(0)
        seen.add(address)
        answer = site.get(address)
        assert answer.status_code in (200, 302), address
        if answer.headers.get("content-type", "").startswith("text/html"):
            found = re.findall(r'(?:href|src|action)="(/[^"]*)"', answer.text)
            waiting += [url for url in map(_unescaped, found) if url not in seen and url not in waiting]


def _unescaped(url: str) -> str:
    return url.replace("&amp;", "&")


def test_hostile_captions_stay_words(site: TestClient) -> None:
    pages = [site.get(f"/tiny/images/{image_id}").text for image_id in range(6)]
    assert "<script>alert" not in "".join(pages)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]
    assert "{{ 7 * 7 }}" in pages[1]
    assert 'dir="auto"' in pages[2]


def test_only_http_links_lead_to_sources(site: TestClient) -> None:
    html = "".join(site.get(f"/tiny/images/{image_id}").text for image_id in range(8))
    outside = re.findall(r'<a href="([^"/][^"]*)"([^>]*)>', html)
    links = [(url, rest) for url, rest in outside if not url.startswith("#")]
    assert {url.partition(":")[0] for url, _ in links} == {"https"}
    assert all('rel="noreferrer nofollow"' in rest for _, rest in links)
    assert "javascript:" not in html
    assert "onmouseover=&#34;" in html


def test_an_unsafe_image_is_covered_until_it_is_clicked(site: TestClient) -> None:
    assert 'class="image blurred"' in site.get(f"/tiny/images/{UNSAFE_IMAGE}?layer=1").text
    assert (
        'class="image blurred"'
        not in site.get("/tiny/images/20?layer=embed&token=cls").text.split("codes")[0]
    )


def test_a_feature_below_nine_images_shows_its_images_instead_of_a_sprite(site: TestClient) -> None:
    html = site.get("/tiny/1?min_images=0&sort=feature").text
    assert f"/tiny/grids/1/cls/{FEW_IMAGES}.webp" not in html
    assert "/tiny/grids/1/cls/0.webp" in html
    assert "never fires" in html


def test_a_feature_that_never_fires_has_a_page_without_figures(site: TestClient) -> None:
    html = site.get(f"/tiny/1/{NEVER_FIRES}").text
    assert "never fires" in html
    assert 'class="max"' not in html


def test_the_rail_and_the_switch_keep_feature_and_image(site: TestClient) -> None:
    feature, image = site.get("/tiny/1/3?token=137").text, site.get("/tiny/images/9?token=137").text
    assert 'href="/tiny/3/3?token=137"' in feature
    assert 'href="/tiny/embed/3?token=cls"' in feature
    assert 'href="/tiny/1/3?token=any"' in feature
    assert 'href="/tiny/images/9/activations?layer=3&amp;tokens=137"' in image
    assert 'href="/tiny/images/9?token=any"' in image


def test_previous_and_next_pass_over_dead_features(site: TestClient) -> None:
    html = site.get(f"/tiny/1/{NEVER_FIRES - 1}").text
    assert re.search(r'rel="next"[^>]*>([0-9]+) ›', html)
    assert f"/tiny/1/{NEVER_FIRES}?" not in html


def test_random_weights_are_told_on_every_page(start_site: StartSite, tmp_path: Path) -> None:
    index = write_index(tmp_path / "raw", slug="raw", random_weights=True)
    site = start_site(index_dirs=[index.index_dir])
    for address in ADDRESSES:
        told = site.get(address.replace("/tiny", "/raw")).text.lower()
        assert address in ("/api", "/glossary") or "random weights" in told
    assert "Random weights" in site.get("/raw/nothing").text


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ("different", "trained on another model: openai/clip-vit-large-patch14"),
        ("uncertain", "may be trained on another model: openai/clip-vit-large-patch14"),
        ("same name", None),
        ("same weights", None),
    ],
)
def test_an_index_tells_of_a_layer_whose_sae_is_of_another_model(
    start_site: StartSite, tmp_path: Path, match: ModelMatch, told: str | None
) -> None:
    index_dir = write_index(tmp_path / "forced", slug="forced").index_dir
    manifest = read_manifest(index_dir)
    trained_on = TrainedOnRecord(
        name="openai/clip-vit-large-patch14", revision=None, sha256=None, match=match
    )
    first, *others = manifest.layers
    layers = [first.model_copy(update={"trained_on": trained_on}), *others]
    write_manifest(index_dir, manifest.model_copy(update={"layers": layers}))
    page = start_site(index_dirs=[index_dir]).get("/forced").text
    tags = re.findall(r'<span class="tag">([^<]*model[^<]*)</span>', page)
    assert tags == ([told] if told else [])


def test_a_trained_index_has_no_banner(site: TestClient) -> None:
    assert "andom weights" not in site.get("/tiny/1").text


def test_htmx_gets_the_block_it_names_and_a_plain_get_the_whole_page(site: TestClient) -> None:
    address = "/tiny/1/0?token=cls"
    part = site.get(address, headers={"HX-Request": "true", "HX-Target": "more"})
    whole = site.get(address)
    assert "<!doctype" not in part.text
    assert part.text.strip() in whole.text
    assert "HX-Request" in part.headers["vary"]
    assert "HX-Request" in whole.headers["vary"]


@pytest.mark.parametrize(
    "headers", [{"HX-History-Restore-Request": "true"}, {"HX-Boosted": "true"}, {"HX-Target": "unknown"}]
)
def test_boosted_restored_and_unknown_requests_get_the_whole_page(
    site: TestClient, headers: dict[str, str]
) -> None:
    answer = site.get("/tiny/1", headers={"HX-Request": "true", "HX-Target": "more", **headers})
    assert answer.text.startswith("<!doctype html>")


def test_an_error_answers_htmx_with_a_sentence(site: TestClient) -> None:
    answer = site.get("/tiny/1?sort=best", headers={"HX-Request": "true", "HX-Target": "results"})
    assert answer.status_code == 422
    assert answer.text.startswith('<p class="lead" id="problem">')


def test_random_leads_to_a_feature_with_a_grid_and_is_not_kept(site: TestClient) -> None:
    answer = site.get("/tiny/random?layer=3&token=137")
    assert answer.status_code == 302
    assert answer.headers["cache-control"] == "no-store"
    assert re.fullmatch(r"/tiny/3/[0-9]+\?token=137", answer.headers["location"])
    assert "/grids/" not in answer.headers["location"]
    assert site.get(answer.headers["location"]).text.count('class="image') >= 9
