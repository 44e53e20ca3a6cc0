"""What a visitor does: browse, filter, load more, uncover, upload, share, delete; with and without script."""

import io
import re
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.app.index import UNSAFE_IMAGE
from tests.browser.conftest import OpenPage

ALL_FETCHED = "() => [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
# How far ahead a browser fetches depends on its connection; so far ahead none does.
MOVE_LAST_AWAY = """() => {
  const last = [...document.images].at(-1);
  last.loading = "lazy";
  last.style.marginTop = "50000px";
  last.src += "&again=1";
}"""
# A checkbox over an image is not seen itself: its label wears the ring.
OUTLINE = """() => {
  const active = document.activeElement;
  const seen = active.matches(".cover input") ? active.parentElement : active;
  if (active.matches("svg a")) return getComputedStyle(active.querySelector("rect")).stroke;
  return getComputedStyle(seen).outlineStyle;
}"""


def sample_image() -> Any:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (10, 160, 90)).save(buffer, "PNG")
    return {"name": "my image.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def test_from_home_to_an_image_by_links_alone(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/")
    page.get_by_role("link", name="tiny").first.click()
    page.get_by_role("navigation", name="Layer").get_by_role("link", name="3").click()
    page.get_by_role("navigation", name="Token").get_by_role("link", name="137").click()
    page.locator(".feature h3 a").first.click()
    assert re.search(r"/tiny/3/[0-9]+\?token=137$", page.url)
    page.locator(".big-grid a").first.click()
    assert re.search(r"/tiny/images/[0-9]+$", page.url)
    page.locator(".more-link, .feature h3 a").first.click()
    expect(page.locator("h1")).to_be_visible()


def test_filters_work_without_script(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/tiny/1?token=any")
    page.get_by_label("order by").select_option("density")
    page.get_by_label("fires on at least").fill("1")
    page.get_by_role("button", name="apply").click()
    page.wait_for_url("**/tiny/1?token=any&sort=density&min_images=1")
    expect(page.get_by_text("page 1 of 2", exact=True)).to_be_visible()
    page.get_by_role("link", name="next page").click()
    expect(page.get_by_text("page 2 of 2", exact=True)).to_be_visible()


def test_filters_swap_the_results_and_the_url_is_the_state(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1?token=any")
    page.evaluate("window.stayed = true")
    page.get_by_label("fires on at least").fill("1")
    page.get_by_label("order by").select_option("max")
    expect(page.get_by_text("page 1 of 2", exact=True)).to_be_visible()
    page.wait_for_url("**/tiny/1?token=any&sort=max&min_images=1")
    first = page.locator(".feature h3").first.inner_text()
    rail = page.get_by_role("navigation", name="Layer").get_by_role("link", name="3")
    assert "sort=max" in (rail.get_attribute("href") or "")
    assert page.evaluate("window.stayed")
    page.reload()
    assert page.locator(".feature h3").first.inner_text() == first
    page.go_back()
    expect(page.get_by_label("order by")).to_have_value("feature")


def test_the_count_of_a_gallery_is_told_where_it_changes(tiny_site: str, open_page: OpenPage) -> None:
    """A live region that is itself replaced tells nothing, so it stays and its words change."""
    page = open_page(tiny_site).goto("/tiny/1?token=any")
    count = page.get_by_role("status").filter(has_text="features fire")
    count.evaluate("(region) => { region.stayed = true; }")
    page.get_by_label("fires on at least").fill("30")
    page.get_by_label("fires on at least").press("Enter")
    expect(count).to_contain_text("shown")
    assert count.evaluate("(region) => region.stayed")
    page.get_by_role("link", name="clear filters").click()
    expect(count).not_to_contain_text("shown")


def test_the_keys_pass_over_the_chart_to_the_first_card(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1?token=any")
    skip = page.get_by_role("link", name="Skip the chart")
    skip.focus()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.wait_for_url("**#results")
    page.keyboard.press("Tab")
    first = page.locator("#results .feature").first
    assert first.evaluate("(card) => card.contains(document.activeElement)")


def test_the_charts_of_a_feature_have_headings(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1/0?token=any")
    for name in ("Activations at", "Where it fires"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_scrolling_adds_the_next_page_below(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1?token=any&min_images=1")
    assert page.locator(".feature").count() == 48
    page.locator("#more").scroll_into_view_if_needed()
    expect(page.locator("#more")).to_contain_text("page 1 to 2 of 2")
    names = page.locator(".feature h3").all_inner_texts()
    assert len(names) == len(set(names)) > 48


def test_more_images_of_a_feature_are_added_by_rank(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1/0")
    page.get_by_role("button", name="load more here").click()
    expect(page.locator("#more")).to_contain_text("2 of 3")
    ranks = [int(rank) for rank in page.locator(".rank").all_inner_texts()]
    assert ranks == list(range(1, len(ranks) + 1))
    assert len(ranks) > 24


def test_a_bad_value_is_told_beside_the_form(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, expect={422}).goto("/tiny/1")
    page.get_by_label("fires on at least").fill("-1")
    page.get_by_label("fires on at least").evaluate("(input) => { input.min = ''; }")
    page.get_by_label("fires on at least").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Invalid min_images '-1'")
    assert page.locator(".feature").count() > 0


def test_an_unsafe_image_is_shown_by_a_click_and_not_before(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto(f"/tiny/images/{UNSAFE_IMAGE}")
    covered = page.locator(".subject .image")
    expect(covered.locator("img")).to_have_css("filter", re.compile("blur"))
    covered.get_by_text("may be unsafe").click()
    expect(covered.locator("img")).to_have_css("filter", "none")


def test_an_upload_with_script_shows_preview_and_result(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    expect(page.locator(".drop img")).to_be_visible()
    expect(page.locator(".drop-words")).to_have_text("my image.png")
    page.get_by_role("button", name="Analyze image").click()
    page.wait_for_url("**/tiny/uploads/*")
    assert_is_result(page)


@pytest.mark.parametrize("script", [True, False])
def test_what_is_no_image_is_told_in_words(tiny_site: str, open_page: OpenPage, script: bool) -> None:
    page = open_page(tiny_site, expect={415}, java_script_enabled=script).goto("/tiny/uploads")
    page.set_input_files("#image", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    page.get_by_role("button", name="Analyze image").click()
    expect(page.get_by_text("cannot be read as an image")).to_be_visible()


def test_an_image_that_is_too_large_is_told_in_words(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, expect={413}).goto("/tiny/uploads")
    big: Any = {"name": "a.png", "mimeType": "image/png", "buffer": bytes(12 * 1024**2)}
    page.set_input_files("#image", big)
    page.get_by_role("button", name="Analyze image").click()
    expect(page.get_by_text("too large: at most 10 MB")).to_be_visible(timeout=15_000)


def test_an_upload_without_script_is_shared_and_deleted(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False, expect={410}).goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    page.get_by_role("button", name="Analyze image").click()
    page.wait_for_url("**/tiny/uploads/*")
    assert_is_result(page)
    friend = open_page(tiny_site).goto(page.url.removeprefix(tiny_site))
    expect(friend.locator(".subject img")).to_be_visible()
    expect(friend.get_by_role("link", name="Delete this image")).to_have_count(0)
    page.get_by_role("link", name="Delete this image").click()
    expect(page.get_by_role("heading", name="Delete this image?")).to_be_visible()
    expect(friend.locator(".subject img")).to_be_visible()
    page.get_by_role("button", name="Delete image").click()
    expect(page.get_by_role("heading", name="No longer available")).to_be_visible()


def assert_is_result(page: Page) -> None:
    expect(page.get_by_role("heading", name="Your image")).to_be_visible()
    expect(page.get_by_role("link", name="Delete this image")).to_be_visible()
    assert page.locator(".slot").count() == 3
    assert page.locator(".slot .feature").count() >= 9


def test_a_link_is_copied(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site, permissions=["clipboard-read", "clipboard-write"])
    page = watched.goto("/tiny/1/0")
    page.get_by_role("button", name="copy link").first.click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"{tiny_site}/tiny/1/0?token=cls"


def test_what_was_not_scrolled_to_is_printed_too(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1/0?token=any")
    page.evaluate(MOVE_LAST_AWAY)
    assert not page.evaluate(ALL_FETCHED)
    page.evaluate(f"() => {{ window.print = () => {{ window.printed = ({ALL_FETCHED})(); }}; }}")
    page.keyboard.press("Control+p")
    page.wait_for_function("() => window.printed !== undefined")
    assert page.evaluate("window.printed")


def test_an_id_is_whole_beside_its_copy_link_on_a_phone(tiny_site: str, open_page: OpenPage) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = open_page(tiny_site, **phone).goto("/tiny/embed?min_images=0")
    name = page.locator("main .feature h3").first
    name.locator("a").evaluate("(link) => { link.textContent = 'embed · 31415'; }")
    assert name.evaluate("(heading) => heading.scrollWidth <= heading.clientWidth")
    expect(page.locator("main .feature copy-link button").first).to_be_visible()


def test_the_theme_is_switched_and_remembered(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, color_scheme="light").goto("/tiny")
    light = background(page)
    for _ in range(2):  # auto, light, dark
        page.get_by_role("button", name="theme").click()
    assert background(page) != light
    page.reload()
    assert background(page) != light


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_the_keyboard_reaches_everything_and_focus_is_seen(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    reached = set[str]()
    for _ in range(90):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.add(str(page.evaluate("document.activeElement.innerText || document.activeElement.name")))
        assert page.evaluate(OUTLINE) != "none"
    assert {"tiny", "3", "137", "analyze image", "random", "theme", "min_images", "L1 · 0"} <= reached


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/tiny/1?min_images=0",
        "/tiny/3/0?token=any",
        "/tiny/images/3",
        "/tiny/search?q=heart",
        "/tiny/compare?features=1:0,3:1",
    ],
)
def test_nothing_jumps_while_images_load(tiny_site: str, open_page: OpenPage, address: str) -> None:
    watched = open_page(tiny_site)
    watched.page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => { for (const entry of list.getEntries())"
        " window.shift += entry.value; }).observe({type: 'layout-shift', buffered: true});"
    )
    assert watched.goto(address).evaluate("window.shift") < 0.01
