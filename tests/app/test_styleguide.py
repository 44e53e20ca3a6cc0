"""`/patterns` shows every component of the pages of an image, in its states."""

import re

import pytest
from jinja2 import nodes
from starlette.testclient import TestClient

from app.assets import TEMPLATES_DIR
from app.pages.render import environment
from tests.app.conftest import StartSite

STATES = {
    "patches selected": '<path class="mark-over"',
    "heatmap over the image": '<svg class="heatmap-overlay"',
    "a residual map": "<residual-map",
    "an active feature": '<div class="active-feature"',
    "a chosen one": 'class="active-feature is-selected"',
    "a silent one": "It does not fire anywhere",
    "a histogram with the image in it": '<line class="marker"',
    "a group": '<li class="group"',
    "a chosen group": '<li class="group is-selected"',
    "layers": '<section class="flow-column"',
    "a link by decoder": '<path class="line-decoder',
    "a link by co-firing": '<path class="line-cofiring',
    "an edit": '<li class="edit"',
    "offers": '<ul class="editable-groups"',
    "a prompt that went up": '<tr class="up"',
    "a prompt that went down": '<tr class="down"',
    "a new neighbor": '<li class="new-image"',
    "an image in both lists": 'class="ranked-image in-both"',
    "two images": '<section class="slot image-comparison"',
    "an upload's box": "upload-actions",
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_there(site: TestClient, state: str) -> None:
    assert STATES[state] in site.get("/patterns").text


@pytest.mark.parametrize("template", ["image/widgets.html", "image/macros.html"])
def test_no_component_is_forgotten(template: str) -> None:
    env = environment()
    source = (TEMPLATES_DIR / template).read_text("utf-8")
    made = {macro.name for macro in env.parse(source).find_all(nodes.Macro)}
    shown = (TEMPLATES_DIR / "image/styleguide.html").read_text("utf-8")
    shown += (TEMPLATES_DIR / "image/widgets.html").read_text("utf-8") + source
    called_macros = set(re.findall(r"(\w+)\(", re.sub(r"macro \w+\(", "", shown)))
    assert made
    assert made <= called_macros


def test_nothing_is_swapped_on_it_and_its_links_are_those_of_the_pages(site: TestClient) -> None:
    html = site.get("/patterns").text
    assert "<div hx-disable>" in html
    address = re.findall(r'href="(/tiny/images/0/(?:activations|groups|steering|layers)[^"]*)"', html)
    for url in {each.split("?")[0]: each for each in address}.values():
        assert site.get(url.replace("&amp;", "&")).status_code == 200


def test_it_needs_no_model(start_site: StartSite) -> None:
    site = start_site(encoder_device="off", real_encoder=True)
    assert site.get("/patterns").status_code == 200
