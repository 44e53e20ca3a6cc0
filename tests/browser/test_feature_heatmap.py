"""Heat over a feature's images, and from image to histogram. The endpoint's answers are made up here."""

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenPage

ADDRESS = "/tiny/1/0?token=any"
PEAK = 137 - 1
PIXEL = """(map, patch) => {
  const [x, y] = [patch % 16, Math.floor(patch / 16)];
  const copy = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  copy.drawImage(map.querySelector("canvas"), -x, -y);
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""


def answering(page: Page, answer: Callable[[int], object]) -> list[list[int]]:
    """Stands in for the heat endpoint; gives the ids of each request as they come."""
    asked = list[list[int]]()

    def fulfill(route: Route) -> None:
        ids = [int(part) for part in parse_qs(urlsplit(route.request.url).query)["images"][0].split(",")]
        asked.append(ids)
        route.fulfill(json={"heats": [answer(image_id) for image_id in ids]})

    page.route("**/heat?*", fulfill)
    return asked


def heat(image_id: int) -> object:
    patches = [0.0] * 256
    patches[PEAK] = 8.25
    return {"image_id": image_id, "cls": 1.5, "patches": patches, "max": 8.25}


def test_heat_is_drawn_read_out_and_asked_for_once(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site)
    asked = answering(watched.page, heat)
    page = watched.goto(ADDRESS)
    first = page.locator(".big-grid feature-heatmap").first
    expect(first.locator("canvas")).to_have_attribute(
        "aria-label", "heatmap: highest row 8, column 8: 8.25; above zero at 1 of 256 patches; at CLS 1.5"
    )
    assert len(asked[0]) >= 9
    assert first.evaluate(PIXEL, 0)[3] == 0
    assert first.evaluate(PIXEL, PEAK)[3] > 100
    page.locator(".big-grid a").first.focus()
    expect(first.locator("output")).to_have_text("row 8, column 8: 8.25")
    page.keyboard.press("ArrowUp")
    expect(first.locator("output")).to_have_text("row 7, column 8: 0")
    page.locator(".big-grid a").first.hover(position={"x": 1, "y": 1})
    expect(first.locator("output")).to_have_text("row 0, column 0: 0")
    page.locator("#intervals").scroll_into_view_if_needed()
    expect(page.locator("#intervals feature-heatmap canvas").last).to_be_visible()
    ids = [image_id for request in asked for image_id in request]
    assert len(ids) == len(set(ids))


def test_heat_is_switched_by_button_and_key_and_the_setting_is_kept(
    tiny_site: str, open_page: OpenPage
) -> None:
    watched = open_page(tiny_site)
    answering(watched.page, heat)
    page = watched.goto(ADDRESS)
    switch, canvas = page.get_by_role("button", name="heatmap"), page.locator(".big-grid canvas").first
    expect(canvas).to_be_visible()
    switch.click()
    expect(canvas).to_be_hidden()
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(canvas).to_be_hidden()
    page.keyboard.press("h")
    expect(canvas).to_be_visible()
    before = page.locator(".big-grid feature-heatmap").first.evaluate(PIXEL, PEAK)
    page.get_by_label("opacity").fill("0.2")
    after = page.locator(".big-grid feature-heatmap").first.evaluate(PIXEL, PEAK)
    assert after[3] < before[3]


def test_a_failure_is_told_and_is_no_empty_heat(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site, expect={503})
    problem = {"error": "busy", "detail": "The server is busy: 16 images are being analyzed."}
    watched.page.route("**/heat?*", lambda route: route.fulfill(status=503, body=json.dumps(problem)))
    page = watched.goto(ADDRESS)
    expect(page.locator(".heatmap-status")).to_have_text(f"No heatmaps: {problem['detail']}")
    expect(page.locator(".big-grid .heatmap-problem").first).to_have_text("no heatmap")
    expect(page.locator(".big-grid feature-heatmap canvas").first).to_be_hidden()


def test_a_server_without_a_model_says_so_once(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site, expect={503})
    problem = {"error": "encoder_absent", "detail": "This server cannot analyze images: torch is missing."}
    watched.page.route("**/heat?*", lambda route: route.fulfill(status=503, body=json.dumps(problem)))
    page = watched.goto(ADDRESS)
    expect(page.locator(".heatmap-status")).to_have_text(f"No heatmaps: {problem['detail']}")
    expect(page.locator(".heatmap-switch")).to_be_hidden()
    expect(page.locator(".heatmap-problem")).to_have_count(0)


def test_the_image_that_is_pointed_at_is_marked_in_the_histogram(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site)
    answering(watched.page, heat)
    page = watched.goto(ADDRESS)
    line = page.locator(".pointed")
    expect(line).to_have_css("visibility", "hidden")
    page.locator("#rank-2 a").first.hover()
    expect(line).to_have_css("visibility", "visible")
    expect(page.locator("activation-histogram output")).to_have_text(re.compile("^rank 2: "))
    page.locator("h1").hover()
    expect(line).to_have_css("visibility", "hidden")


def test_the_page_is_whole_without_script(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto(ADDRESS)
    expect(page.locator("heatmap-panel")).to_be_hidden()
    page.get_by_role("link", name="linear").click()
    page.wait_for_url("**/tiny/1/0?token=any&scale=linear#histogram")
    page.locator("#histogram summary").click()
    expect(page.locator("#histogram table")).to_be_visible()
    page.get_by_text("cite", exact=True).click()
    expect(page.locator("#cite")).to_contain_text("@misc{scopeview-tiny-1-any-0")
