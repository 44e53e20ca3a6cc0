"""Pages of an image in Chromium: sent in every way, pressed, dragged over, followed, shared, deleted."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import grave_violations
from tests.browser.conftest import OpenPage
from tests.browser.test_journeys import sample_image

GIVE_FILE = """([kind, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
  const init = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent("paste", { ...init, clipboardData: files })
                                 : new DragEvent(kind, { ...init, dataTransfer: files });
  document.body.dispatchEvent(event);
}"""
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
# How far the ring around what is focused reaches: inside an SVG it grows with the drawing.
RING_PX = """() => {
  const style = getComputedStyle(document.activeElement);
  if (style.outlineStyle === "none") return 0;
  const scale = document.activeElement.ownerSVGElement ? document.activeElement.getScreenCTM().a : 1;
  return scale * (parseFloat(style.outlineWidth) + Math.max(parseFloat(style.outlineOffset), 0));
}"""
STAY = """document.addEventListener("click", (event) => {
  event.preventDefault();
  event.stopPropagation();
}, true)"""
PAGES = {
    "overview": "",
    "activations": "/activations?layer=3&tokens=137&feature=2",
    "groups": "/groups?layer=3&group=1",
    "layers": "/layers",
    "steering": "/steering?layer=3&edit=2:0&prompt=a+heart&prompt=a+sun",
    "similar": "/similar?layer=3",
    "compare": "/compare?with=12",
}


def sent(page: Page) -> str:
    """The address of the result, once the form is sent."""
    page.get_by_role("button", name="Analyze image").click()
    page.wait_for_url("**/tiny/uploads/*")
    page.wait_for_load_state("networkidle")
    return page.url


def press(page: Page, row: int, column: int, *, modifiers: Any = None) -> None:
    """On a patch, as a mouse does."""
    box = page.locator("patch-picker").bounding_box()
    assert box is not None
    side = box["width"] / 16
    place: Any = {"x": (column + 0.5) * side, "y": (row + 0.5) * side}
    page.locator("patch-picker").click(position=place, modifiers=modifiers)


def drag(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From the patch at one (row, column) to another."""
    box = page.locator("patch-picker").bounding_box()
    assert box is not None
    side = box["width"] / 16
    places = [
        (box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side) for row, column in (start, end)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def choose(page: Page, label: str) -> None:
    page.get_by_role("navigation", name="Selection").get_by_role("link", name=label).click()


def walk(page: Page) -> None:
    """By keys, from the middle of the image to the patch above."""
    page.locator("patch-picker").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")


def tap(page: Page, row: int, column: int) -> None:
    box = page.locator("patch-picker").bounding_box()
    assert box is not None
    side = box["width"] / 16
    page.touchscreen.tap(box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side)


def assert_is_one_page(page: Page) -> None:
    assert page.locator("main").count() == page.locator("header.top").count() == 1
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("way", ["file", "paste", "drop"])
def test_an_image_is_sent_by_file_by_paste_and_by_drag(tiny_site: str, open_page: OpenPage, way: str) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    if way == "file":
        page.set_input_files("#image", sample_image())
    else:
        page.evaluate(GIVE_FILE, [way, list(sample_image()["buffer"])])
    expect(page.locator(".drop img")).to_be_visible()
    sent(page)
    expect(page.get_by_role("heading", name="Your image")).to_be_visible()
    expect(page.locator("patch-picker img")).to_be_visible()


WAYS_IN: dict[str, tuple[Callable[[Page], None], str]] = {
    "CLS": (lambda page: choose(page, "CLS"), "cls"),
    "whole image": (lambda page: choose(page, "whole image"), "any"),
    "press": (lambda page: press(page, 10, 5), "166"),
    "drag": (lambda page: drag(page, (2, 0), (3, 2)), "33-35,49-51"),
    "keys": (walk, "121"),
    "tap": (lambda page: tap(page, 10, 5), "166"),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_an_overview_leads_into_a_layer(tiny_site: str, open_page: OpenPage, way: str) -> None:
    go, tokens = WAYS_IN[way]
    page = open_page(tiny_site, **(PHONE if way == "tap" else {})).goto("/tiny/images/9")
    go(page)
    page.wait_for_url(re.compile(rf"/images/9/activations\?layer=3&tokens={tokens}$"))
    expect(page.get_by_role("link", name="activations")).to_have_attribute("aria-current", "page")
    assert_is_one_page(page)
    page.go_back()
    expect(page.get_by_role("link", name="overview")).to_have_attribute("aria-current", "page")
    assert_is_one_page(page)


def test_a_press_on_a_patch_draws_no_ring_larger_than_the_patch(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/activations?layer=3")
    page.locator("patch-picker").focus()  # by keys: from here on rings are shown
    page.keyboard.press("ArrowUp")
    box = page.locator("patch-picker").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    assert page.evaluate(RING_PX) <= 4
    page.locator(".patches a").nth(20).evaluate("(link) => link.focus({ focusVisible: true })")
    assert page.evaluate(RING_PX) <= 4


def test_the_keys_go_on_where_they_were_after_a_patch_was_chosen(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/activations?layer=3&tokens=17")
    page.locator("patch-picker").focus()
    for tokens in ("18", "19"):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**tokens={tokens}")
        expect(page.locator("patch-picker")).to_be_focused()


def test_patches_are_pressed_dragged_over_and_added_to(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/activations?layer=3")
    page.evaluate("window.stayed = true")
    press(page, 1, 0)
    page.wait_for_url("**/activations?layer=3&tokens=17")
    expect(page.locator("#here")).to_contain_text("at patch (1, 0)")
    drag(page, (2, 0), (3, 2))
    page.wait_for_url("**/activations?layer=3&tokens=33-35,49-51")
    expect(page.locator("#here")).to_contain_text("at 6 patches")
    press(page, 8, 8, modifiers=["Shift"])
    page.wait_for_url("**/activations?layer=3&tokens=33-35,49-51,137")
    page.get_by_role("button", name="select more patches").click()
    press(page, 0, 0)
    page.wait_for_url("**/activations?layer=3&tokens=1,33-35,49-51,137")
    page.get_by_role("navigation", name="Selection").get_by_role("link", name="CLS").click()
    page.wait_for_url("**/activations?layer=3&tokens=cls")
    assert page.evaluate("window.stayed"), "the page was never left"
    page.go_back()
    expect(page.locator("#here")).to_contain_text("at 8 patches")


def test_patches_are_reached_by_keys(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/activations?layer=3&tokens=17")
    page.locator("patch-picker").focus()
    expect(page.locator("patch-picker output")).to_have_text("row 1, column 0")
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/activations?layer=3&tokens=34")
    expect(page.locator("#here")).to_contain_text("at patch (2, 1)")
    page.locator("residual-map").focus()
    expect(page.locator("residual-map output")).to_contain_text("MSE")


def test_to_a_feature_with_its_heat_and_back_and_the_link_opened_elsewhere(
    tiny_site: str, open_page: OpenPage
) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    sent(page)
    page.get_by_role("navigation", name="Layer").get_by_role("link", name="3").click()
    page.wait_for_url("**/activations?layer=3&tokens=cls")
    press(page, 8, 8)
    page.wait_for_url("**tokens=137")
    page.locator(".active-feature .heatmap-link").first.click()
    page.wait_for_url(re.compile(r"tokens=137&feature=\d+$"))
    expect(page.locator("patch-picker .heatmap-overlay path")).to_have_count(1)
    shared, listed = page.url, page.locator(".active-feature h3").all_inner_texts()
    page.get_by_role("link", name="feature page with this image").click()
    expect(page.locator("#pinned-image .heatmap-overlay path")).to_have_count(1)
    expect(page.locator("#pinned-image")).to_contain_text("highest at patch (8, 8)")
    page.locator(".steps [rel=next]").click()
    expect(page.locator("#pinned-image-heading")).to_have_text("Your image")
    page.go_back()
    page.get_by_role("link", name="back to the image").click()
    expect(page.locator(".selected-feature")).to_be_visible()
    friend = open_page(tiny_site).goto(shared.removeprefix(tiny_site))
    assert friend.locator(".active-feature h3").all_inner_texts() == listed
    expect(friend.locator("patch-picker .heatmap-overlay path")).to_have_count(1)
    expect(friend.locator(".is-selected")).to_have_count(1)
    expect(friend.get_by_role("link", name="Delete this image")).to_have_count(0)


def test_edits_and_prompts_are_changed(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/steering?layer=3&prompt=a+heart&prompt=a+blue+sun")
    expect(page.get_by_text("No edits yet")).to_be_visible()
    page.locator(".active-feature .choice a").first.click()
    expect(page.locator(".edit")).to_have_count(1)
    page.locator(".edit input[name=to]").fill("40")
    page.locator(".edit").get_by_role("button", name="apply").click()
    page.wait_for_url(re.compile(r"edit=\d+:40"))
    page.get_by_text("compare with other texts").click()
    page.get_by_label("text 1").fill("a green fish")
    page.get_by_role("button", name="compare").click()
    expect(page.locator(".prompts tbody th").first).to_have_text("a green fish")
    page.get_by_role("link", name="undo all").click()
    expect(page.locator(".edit")).to_have_count(0)


def test_all_of_it_works_without_script(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/tiny/images/9")
    page.locator(".patches a").nth(136).click()
    page.wait_for_url("**/images/9/activations?layer=3&tokens=137")
    page.locator(".active-feature .heatmap-link").first.click()
    expect(page.locator(".selected-feature")).to_be_visible()
    page.get_by_label("order by").select_option("mass")
    page.get_by_role("button", name="apply").click()
    page.wait_for_url("**order=mass**")
    page.get_by_role("link", name="groups").click()
    page.get_by_role("link", name="20 %").click()
    page.get_by_role("link", name="steering").click()
    page.locator(".editable-groups a").first.click()
    expect(page.locator(".edit")).to_have_count(1)


def test_the_delete_link_works_in_another_browser_and_the_image_is_gone(
    tiny_site: str, open_page: OpenPage
) -> None:
    watched = open_page(tiny_site, expect={410})
    page = watched.goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    url = sent(page)
    page.get_by_role("button", name="Keep for 30 days").click()
    expect(page.get_by_role("button", name="Keep for 30 days")).to_have_count(0)
    link = page.locator(".delete-link copy-link").get_attribute("data-url") or ""
    other = open_page(tiny_site, expect={410}).goto(link)
    other.get_by_role("button", name="Delete image").click()
    expect(other.get_by_role("heading", name="No longer available")).to_be_visible()
    for address in (url, f"{url}/activations", f"{url}.webp"):
        answer = page.request.get(address)
        assert answer.status == 410


@pytest.mark.parametrize("part", ["", "/activations", "/groups", "/similar", "/compare?with=12"])
def test_the_first_link_that_an_upload_offers_to_copy_shares_it_and_holds_no_key(
    tiny_site: str, open_page: OpenPage, part: str
) -> None:
    page = open_page(tiny_site, permissions=["clipboard-read", "clipboard-write"]).goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    url = sent(page)
    page.goto(url + part, wait_until="networkidle")
    page.locator("main copy-link button").first.click()
    expect(page.locator("main copy-link button").first).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert page.url.startswith(url)
    assert "key=" not in page.url
    expect(page.locator("copy-link[data-url*='key=']")).to_be_hidden()  # until one asks for it
    page.get_by_text("delete from another browser").click()
    page.get_by_role("button", name="copy delete link").click()
    expect(page.get_by_role("button", name="copied").last).to_be_visible()
    assert "/delete?key=" in page.evaluate("navigator.clipboard.readText()")


def test_deleting_an_upload_asks_first(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    url = sent(page)
    page.get_by_role("link", name="Delete this image").click()
    expect(page.get_by_role("heading", name="Delete this image?")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Your image")).to_be_visible()
    assert page.request.get(url).status == 200
    assert page.locator("form[action*='/delete']").count() == 0


def test_a_busy_server_is_asked_again(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site, expect={503})
    tries = []

    def first_busy(route: Any) -> None:
        tries.append(route)
        if len(tries) > 1:
            route.continue_()
            return
        body = {"error": "busy", "detail": "The server is busy: 16 images are being analyzed."}
        route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    watched.page.route(
        "**/tiny/uploads",
        lambda route: first_busy(route) if route.request.method == "POST" else route.continue_(),
    )
    page = watched.goto("/tiny/uploads")
    page.set_input_files("#image", sample_image())
    page.get_by_role("button", name="Analyze image").click()
    expect(page.locator("[role=status]")).to_contain_text("Retrying in 1 s")
    page.wait_for_url("**/tiny/uploads/*")
    assert len(tries) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_part_is_readable_by_all_and_on_a_phone(tiny_site: str, open_page: OpenPage, name: str) -> None:
    desk = open_page(tiny_site)
    page = desk.goto(f"/tiny/images/9{PAGES[name]}")
    assert page.locator("h1").count() == 1
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert grave_violations(page) == [], scheme
    small = open_page(tiny_site, **PHONE).goto(f"/tiny/images/9{PAGES[name]}")
    assert small.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("address", ["/tiny/images/9", "/tiny/images/9/activations?layer=3"])
def test_a_tap_reads_the_patch_under_the_finger(tiny_site: str, open_page: OpenPage, address: str) -> None:
    page = open_page(tiny_site, **PHONE).goto(address)
    page.evaluate(STAY)
    tap(page, 10, 5)
    expect(page.locator("patch-picker output")).to_have_text("row 10, column 5")


def test_a_finger_presses_patches_and_scrolls_the_page(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, **PHONE).goto("/tiny/images/9/activations?layer=3")
    tap(page, 0, 0)
    page.wait_for_url("**/activations?layer=3&tokens=1")
    expect(page.locator("#here")).to_contain_text("at patch (0, 0)")
