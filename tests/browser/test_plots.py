"""The scatter plot and the feature map: hover, brush, click, search, keys, fingers; and the long scroll."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.main import create_app
from app.settings import Settings
from tests.app.described_index import write_described_index
from tests.app.encoder import FakeEncoder, factory_of
from tests.browser.conftest import OpenPage, served

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
}
DRAWN = "(tag) => document.querySelector(tag)?.plot?.u.scales.x.max > -Infinity"
# Where a point of a plot is on the screen, and which feature it stands for.
POINT = """([tag, i]) => {
  const { plot } = document.querySelector(tag);
  const box = plot.u.over.getBoundingClientRect();
  const x = box.left + plot.u.valToPos(plot.xs[i], "x");
  const y = box.top + plot.u.valToPos(plot.ys[i], "y");
  return [x, y, plot.points.feature[i]];
}"""
SELECTED = """() => {
  const select = document.querySelector("feature-scatter")?.plot?.u.select;
  return select ? select.width * select.height : null;
}"""
# How many points the arrow keys lead to, from wherever they begin.
REACHED_BY_ARROWS = """(tag) => {
  const { hover } = document.querySelector(tag);
  const [reached, waiting] = [new Set([hover.at]), [hover.at]];
  while (waiting.length) {
    const from = waiting.pop();
    for (const way of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      hover.at = from;
      hover.step(way, () => {});
      if (!reached.has(hover.at)) waiting.push(hover.at);
      reached.add(hover.at);
    }
  }
  return reached.size;
}"""
SPAN = "() => { const { x } = document.querySelector('feature-map').plot.u.scales; return x.max - x.min; }"


@pytest.fixture(scope="module")
def told_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("told-site")
    index = write_described_index(folder / "told")
    settings = Settings(index_dirs=[index.index_dir], upload_dir=folder / "uploads")
    with served(create_app(settings, encoder_factory=factory_of(FakeEncoder()))) as base:
        yield base


def opened(page: Page, tag: str) -> Page:
    """Once its points are drawn."""
    page.wait_for_function(DRAWN, arg=tag)
    return page


def point(page: Page, tag: str, i: int) -> tuple[float, float, int]:
    x, y, feature = page.evaluate(POINT, [tag, i])
    return x, y, feature


def test_a_point_of_the_scatter_shows_its_feature_and_leads_to_it(
    told_site: str, open_page: OpenPage
) -> None:
    page = opened(open_page(told_site).goto("/told/1?token=any&plot=1"), "feature-scatter")
    x, y, feature = point(page, "feature-scatter", 1)
    page.mouse.move(x, y)
    card = page.locator(".point-card")
    expect(card).to_contain_text(f"L1 · {feature}")
    expect(card.locator(".feature-word")).to_be_visible()
    page.mouse.click(x, y)
    page.wait_for_url(f"**/told/1/{feature}?token=any")


def test_a_brush_filters_the_gallery_and_stands_in_the_address(told_site: str, open_page: OpenPage) -> None:
    page = opened(open_page(told_site).goto("/told/1?token=any&plot=1"), "feature-scatter")
    before = page.locator("#results .feature").count()
    box = page.locator(".plot-frame .u-over").bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_url(
        re.compile(r"token=any&min_images=\d+&max_images=\d+&min_clarity=[\d.]+&max_clarity=[\d.]+")
    )
    expect(page.get_by_role("link", name="clear filters")).to_be_visible()
    expect(page.get_by_label("clarity, at least")).to_be_visible()  # what filters now is to be seen
    after = page.locator("#results .feature").count()
    assert 0 < after < before
    page.reload()
    page.wait_for_function(f"() => ({SELECTED})() > 0")
    assert page.locator("#results .feature").count() == after
    page.go_back()
    expect(page.locator("#results .feature")).to_have_count(before)
    page.wait_for_function(f"() => ({SELECTED})() === 0")


def test_a_search_lights_up_the_map_and_lists_what_it_found(told_site: str, open_page: OpenPage) -> None:
    page = opened(open_page(told_site).goto("/told/1/map?token=any"), "feature-map")
    page.locator("#found").evaluate("(region) => { region.stayed = true; }")
    page.get_by_label("highlight").fill("blue")
    page.wait_for_url("**/told/1/map?token=any&name=blue")
    expect(page.locator("#found .feature").first).to_be_visible()
    page.wait_for_function("() => document.querySelector('feature-map').plot.highlighted?.length > 0")
    assert page.locator("#found").evaluate("(region) => region.stayed"), "its words change, and are told"
    n_found = int(page.locator("#found data").first.get_attribute("value") or 0)
    assert page.evaluate("() => document.querySelector('feature-map').plot.highlighted.length") == n_found
    page.get_by_label("highlight").fill("")
    page.wait_for_function("() => document.querySelector('feature-map').plot.highlighted === null")
    page.get_by_label("color by").select_option("clarity")
    page.wait_for_url("**/told/1/map?token=any&color=clarity")


def test_the_map_is_moved_by_hand_wheel_and_keys(told_site: str, open_page: OpenPage) -> None:
    page = opened(open_page(told_site).goto("/told/1/map?token=any"), "feature-map")
    x, y, feature = point(page, "feature-map", 2)
    whole = page.evaluate(SPAN)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    page.wait_for_function(f"() => ({SPAN})() < {whole} * 0.6")
    near = point(page, "feature-map", 2)
    assert abs(near[0] - x) < 2
    assert abs(near[1] - y) < 2
    page.mouse.down()
    page.mouse.move(x + 40, y + 20, steps=4)
    page.mouse.up()
    page.wait_for_function(f"(to) => Math.abs(({POINT})(['feature-map', 2])[0] - to) < 3", arg=x + 40)
    assert f"/{feature}?" not in page.url
    page.locator("feature-map").focus()
    page.keyboard.press("0")
    page.wait_for_function(f"() => Math.abs(({SPAN})() - {whole}) < 1e-6")
    page.keyboard.press("+")
    page.wait_for_function(f"() => ({SPAN})() < {whole} * 0.7")
    page.get_by_role("button", name="reset view").click()
    page.wait_for_function(f"() => Math.abs(({SPAN})() - {whole}) < 1e-6")


@pytest.mark.parametrize(
    ("tag", "address"), [("feature-map", "/map?token=any"), ("feature-scatter", "?token=any&plot=1")]
)
def test_points_are_reached_and_opened_by_keys(
    told_site: str, open_page: OpenPage, tag: str, address: str
) -> None:
    page = opened(open_page(told_site).goto(f"/told/1{address}"), tag)
    card = page.locator(".point-card")
    page.locator(tag).focus()
    reached = set[str]()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        at = page.evaluate(
            "(tag) => { const { hover, plot } = document.querySelector(tag);"
            " return plot.points.feature[hover.at]; }",
            tag,
        )
        expect(card.locator("h3")).to_have_text(f"L1 · {at}")
        reached.add(str(at))
    assert len(reached) >= 2
    assert page.evaluate(REACHED_BY_ARROWS, tag) == page.evaluate(
        "(tag) => document.querySelector(tag).plot.xs.length", tag
    )
    expect(card).to_have_attribute("role", "status")
    page.keyboard.press("Tab")  # from the plot on, and on to the card: what it shows can be used
    expect(page.locator(tag).locator(":focus")).to_have_count(1)
    card.locator("h3 a").focus()
    page.evaluate("(tag) => document.querySelector(tag).hover.show(0, 0).then(() => null)", tag)
    expect(card.locator("h3 a:focus")).to_have_count(1)  # a card that comes late keeps the focus
    page.locator(tag).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/told/1/[0-9]+\?token=any$"))


def test_a_link_to_a_feature_on_the_map_opens_it_there(told_site: str, open_page: OpenPage) -> None:
    page = opened(open_page(told_site).goto("/told/1/map?token=any&feature=4"), "feature-map")
    expect(page.locator(".point-card")).to_contain_text("L1 · 4")
    expect(page.locator(".point-ring")).to_be_visible()


def test_a_finger_sees_the_card_first_and_follows_its_link(told_site: str, open_page: OpenPage) -> None:
    page = opened(open_page(told_site, **PHONE).goto("/told/1/map?token=any"), "feature-map")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("feature-map").scroll_into_view_if_needed()
    x, y, feature = point(page, "feature-map", 1)
    page.touchscreen.tap(x, y)
    card = page.locator(".point-card")
    expect(card).to_contain_text(f"L1 · {feature}")
    assert "/map" in page.url
    card.get_by_role("link", name=f"L1 · {feature}").tap()
    page.wait_for_url(f"**/told/1/{feature}?token=any")


def test_without_script_the_map_finds_features_by_name(told_site: str, open_page: OpenPage) -> None:
    page = open_page(told_site, java_script_enabled=False).goto("/told/1/map?token=any")
    expect(page.get_by_text("The map needs JavaScript")).to_be_visible()
    page.get_by_label("highlight").fill("night")
    page.get_by_role("button", name="apply").click()
    expect(page.locator("#found .feature").first).to_be_visible()
    page.get_by_text("The map needs JavaScript").get_by_role("link", name="gallery").click()
    page.wait_for_url("**/told/1?token=any")


def test_scrolling_adds_pages_and_going_back_finds_them_again(told_site: str, open_page: OpenPage) -> None:
    page = open_page(told_site).goto("/told/1?token=any&min_images=0")
    assert page.locator(".feature").count() == 48
    page.locator(".feature").last.scroll_into_view_if_needed()
    expect(page.locator("#more")).to_contain_text("page 1 to 2 of 2")
    page.wait_for_url("**/told/1?token=any&min_images=0&page=2&first=1")
    names = page.locator(".feature h3").all_inner_texts()
    assert len(names) == len(set(names)) == 96
    page.locator(".feature h3 a").nth(70).click()
    page.wait_for_url(f"**/told/1/{names[70].split()[-1]}?token=any")
    page.go_back()
    expect(page.locator(".feature")).to_have_count(96)
    expect(page.locator(".feature").nth(70)).to_be_in_viewport()
