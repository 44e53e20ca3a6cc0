"""Every page of the demo in Chromium, on a desk, in the dark and on a phone; a screenshot of each is kept.

Look at them: artifacts/screenshots/.
"""

import json
import urllib.request
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.axe import grave_violations
from tests.browser.conftest import OpenPage, Watched
from tests.browser.tour import NOT_THERE, Place, tour
from tests.conftest import PROJECT_DIR

pytestmark = pytest.mark.slow  # the demo is built first

SCREENSHOTS_DIR = PROJECT_DIR / "artifacts" / "screenshots"
VARIANTS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "light",
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    },
}
MAX_BYTES = 100_000
LOAD_ALL = """() => Promise.all([...document.images].map((img) => {
  img.loading = "eager";
  return img.decode();
}))"""


@pytest.fixture(scope="module")
def layer(demo_site: str) -> int:
    """A block in the middle of those that the demo's model has SAEs for."""
    with urllib.request.urlopen(f"{demo_site}/api/v1/demo") as answer:
        blocks = [each["layer"] for each in json.load(answer)["layers"] if each["layer"] != "embed"]
    return int(blocks[len(blocks) // 2])


@pytest.fixture(scope="module")
def addresses(demo_site: str, layer: int) -> dict[str, str]:
    """Every kind of page, by the name of its screenshot."""
    return tour(Place("demo", layer, middle_feature(demo_site, layer)))


def middle_feature(base: str, layer: int) -> int:
    """Not the most common one: those say little."""
    with urllib.request.urlopen(f"{base}/api/v1/demo/{layer}?sort=density&limit=48") as answer:
        cards = json.load(answer)["features"]
    return int(cards[len(cards) // 3]["feature"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_page_of_the_demo_opens_cleanly(
    demo_site: str, addresses: dict[str, str], open_page: OpenPage, variant: str
) -> None:
    clean = open_page(demo_site, **VARIANTS[variant])
    wrong = open_page(demo_site, expect={404, 422}, **VARIANTS[variant])
    for name, address in addresses.items():
        page = (wrong if name in NOT_THERE else clean).goto(address)
        assert page.locator("h1").count() == 1, name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
        assert grave_violations(page) == [], name
        keep_screenshot(page, f"{name}-{variant}")


@pytest.mark.parametrize("name", ["gallery", "gallery-scatter", "map", "feature"])
def test_a_first_visit_costs_little_beside_the_images(
    demo_site: str, addresses: dict[str, str], open_page: OpenPage, name: str
) -> None:
    """HTML, styles and scripts as they come over the wire; a context of its own has nothing cached."""
    watched, answers = open_page(demo_site), list[Response]()
    watched.page.on("response", lambda answer: answers.append(answer))
    watched.goto(addresses[name])
    texts = [each for each in answers if each.request.resource_type in ("document", "stylesheet", "script")]
    assert sum(each.request.sizes()["responseBodySize"] for each in texts) < MAX_BYTES
    assert len(texts) >= 6


def test_from_a_layer_to_a_neighbor_and_its_link_opened_elsewhere(
    demo_site: str, layer: int, open_page: OpenPage
) -> None:
    """Layer, feature, neighbor, share: and back again by the browser's own keys."""
    page = open_page(demo_site).goto("/demo")
    page.get_by_role("navigation", name="Layer").get_by_role("link", name=str(layer), exact=True).click()
    page.get_by_label("order by").select_option("clarity")
    page.wait_for_url(f"**/demo/{layer}?*sort=clarity*")
    page.wait_for_load_state("networkidle")
    names = page.locator("main .feature h3").all_inner_texts()
    page.locator("main .feature h3 a").first.click()
    page.wait_for_url(f"**/demo/{layer}/*")
    first = page.locator("h1").inner_text()
    page.locator("#near").scroll_into_view_if_needed()
    page.locator(".neighbor-kind .feature h3 a").first.click()
    expect(page.locator("h1")).not_to_have_text(first)
    shared, there = page.url, page.locator("h1").inner_text()
    friend = open_page(demo_site).goto(shared.removeprefix(demo_site))
    assert friend.locator("h1").inner_text() == there
    page.go_back()
    expect(page.locator("h1")).to_have_text(first)
    page.go_back()
    expect(page.get_by_label("order by")).to_have_value("clarity")
    assert page.locator("main .feature h3").all_inner_texts()[: len(names)] == names
    page.go_forward()
    expect(page.locator("h1")).to_have_text(first)


def test_neighbors_come_by_scrolling_or_without_script_by_a_link(
    demo_site: str, addresses: dict[str, str], open_page: OpenPage
) -> None:
    page = open_page(demo_site).goto(addresses["feature"])
    assert page.locator(".neighbor-kind").count() == 0
    page.locator("#near").scroll_into_view_if_needed()
    expect(page.locator("#near .across-layers")).to_be_visible()
    names = page.locator("#near h3 a").all_inner_texts()
    plain = open_page(demo_site, java_script_enabled=False).goto(addresses["feature"])
    plain.locator("#near a").click()
    expect(plain.locator("#near h3 a")).to_have_text(names)
    assert "near=1" not in page.url


def test_neighbors_are_printed_though_one_did_not_scroll_to_them(
    demo_site: str, addresses: dict[str, str], open_page: OpenPage
) -> None:
    page = open_page(demo_site).goto(addresses["feature"])
    page.evaluate(
        "window.print = () => { window.printed = document.querySelectorAll('.neighbor-kind img').length; }"
    )
    page.keyboard.press("Control+p")
    page.wait_for_function("() => window.printed > 0")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_every_page_says_what_it_has_without_script(
    demo_site: str, addresses: dict[str, str], open_page: OpenPage
) -> None:
    """All but heat, plots and the map: those say so instead."""
    clean = open_page(demo_site, java_script_enabled=False)
    wrong = open_page(demo_site, expect={404, 422}, java_script_enabled=False)
    for name, address in addresses.items():
        page = (wrong if name in NOT_THERE else clean).goto(address)
        assert page.locator("h1").count() == 1, name
        assert len(page.locator("main").inner_text()) > 80, name
        assert page.locator(".with-script:visible").count() == 0, name


def test_an_image_of_the_demo_is_decomposed_by_the_real_encoder(demo_site: str, open_page: OpenPage) -> None:
    watched = open_page(demo_site)
    with urllib.request.urlopen(f"{demo_site}/demo/thumbs/5.webp") as answer:
        thumb = answer.read()
    upload(watched, "/demo/uploads", thumb)
    page = watched.page
    assert page.locator("h1").inner_text() == "Your image"
    assert page.locator(".slot .feature").count() >= 12
    for variant in ("light", "dark"):
        page.emulate_media(color_scheme=variant)
        keep_screenshot(page, f"upload-result-{'desktop' if variant == 'light' else variant}")
    page.set_viewport_size({"width": 390, "height": 844})
    keep_screenshot(page, "upload-result-phone")


def upload(watched: Watched, address: str, content: bytes) -> None:
    page = watched.goto(address)
    page.set_input_files("#image", {"name": "a.webp", "mimeType": "image/webp", "buffer": content})
    page.get_by_role("button", name="Analyze image").click()
    page.wait_for_url("**/uploads/*", timeout=60_000)
    page.wait_for_load_state("networkidle")


def keep_screenshot(page: Page, name: str) -> None:
    """Of the whole page, once every lazy image is there."""
    page.evaluate(LOAD_ALL)
    SCREENSHOTS_DIR.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS_DIR / f"{name}.png", full_page=True)
