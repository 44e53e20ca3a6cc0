"""A picture taken apart in Chromium: sent in every way, pressed, dragged over, followed, shared, deleted."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import grave_violations
from tests.browser.conftest import OpenPage
from tests.browser.test_journeys import picture

GIVE_FILE = """([kind, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
  const init = { bubbles: true, cancelable: true };
  const event = kind === "paste" ? new ClipboardEvent("paste", { ...init, clipboardData: files })
                                 : new DragEvent(kind, { ...init, dataTransfer: files });
  document.body.dispatchEvent(event);
}"""
PAGES = {
    "overview": "",
    "apart": "/apart?layer=3&tokens=137&feature=2",
    "groups": "/groups?layer=3&group=1",
    "layers": "/layers",
    "knobs": "/knobs?layer=3&edit=2:0&prompt=a+heart&prompt=a+sun",
    "similar": "/similar?layer=3",
    "compare": "/compare?with=12",
}


def sent(page: Page) -> str:
    """The address of the result, once the form is sent."""
    page.get_by_role("button", name="Take it apart").click()
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


@pytest.mark.parametrize("way", ["file", "paste", "drop"])
def test_a_picture_is_sent_by_file_by_paste_and_by_drag(
    tiny_site: str, open_page: OpenPage, way: str
) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    if way == "file":
        page.set_input_files("#image", picture())
    else:
        page.evaluate(GIVE_FILE, [way, list(picture()["buffer"])])
    expect(page.locator(".drop img")).to_be_visible()
    sent(page)
    expect(page.get_by_role("heading", name="Your image")).to_be_visible()
    expect(page.locator("patch-picker img")).to_be_visible()


def test_patches_are_pressed_dragged_over_and_added_to(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/apart?layer=3")
    page.evaluate("window.stayed = true")
    press(page, 1, 0)
    page.wait_for_url("**/apart?layer=3&tokens=17")
    expect(page.locator("#here")).to_contain_text("at patch (1, 0)")
    drag(page, (2, 0), (3, 2))
    page.wait_for_url("**/apart?layer=3&tokens=33-35,49-51")
    expect(page.locator("#here")).to_contain_text("at 6 patches")
    press(page, 8, 8, modifiers=["Shift"])
    page.wait_for_url("**/apart?layer=3&tokens=33-35,49-51,137")
    page.get_by_role("button", name="add to it").click()
    press(page, 0, 0)
    page.wait_for_url("**/apart?layer=3&tokens=1,33-35,49-51,137")
    page.get_by_role("navigation", name="What of the picture").get_by_role("link", name="CLS").click()
    page.wait_for_url("**/apart?layer=3&tokens=cls")
    assert page.evaluate("window.stayed"), "the page was never left"
    page.go_back()
    expect(page.locator("#here")).to_contain_text("at 8 patches")


def test_patches_are_reached_by_keys(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/apart?layer=3&tokens=17")
    page.locator("patch-picker").focus()
    expect(page.locator("patch-picker output")).to_have_text("row 1, column 0")
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url("**/apart?layer=3&tokens=34")
    expect(page.locator("#here")).to_contain_text("at patch (2, 1)")
    page.locator("residual-map").focus()
    expect(page.locator("residual-map output")).to_contain_text("MSE")


def test_to_a_feature_with_its_heat_and_back_and_the_link_opened_elsewhere(
    tiny_site: str, open_page: OpenPage
) -> None:
    page = open_page(tiny_site).goto("/tiny/uploads")
    page.set_input_files("#image", picture())
    sent(page)
    page.get_by_role("navigation", name="Layer").get_by_role("link", name="3").click()
    page.wait_for_url("**/apart?layer=3&tokens=cls")
    press(page, 8, 8)
    page.wait_for_url("**tokens=137")
    page.locator(".active .choose").first.click()
    page.wait_for_url(re.compile(r"tokens=137&feature=\d+$"))
    expect(page.locator("patch-picker .lay path")).to_have_count(1)
    shared, listed = page.url, page.locator(".active h3").all_inner_texts()
    page.get_by_role("link", name="its page, with this picture").click()
    expect(page.locator("#yours .lay path")).to_have_count(1)
    expect(page.locator("#yours")).to_contain_text("highest at patch (8, 8)")
    page.locator(".steps [rel=next]").click()
    expect(page.locator("#yours-heading")).to_have_text("Your image")
    page.go_back()
    page.get_by_role("link", name="back to the picture").click()
    expect(page.locator(".chosen")).to_be_visible()
    friend = open_page(tiny_site).goto(shared.removeprefix(tiny_site))
    assert friend.locator(".active h3").all_inner_texts() == listed
    expect(friend.locator("patch-picker .lay path")).to_have_count(1)
    expect(friend.locator(".chosen-one")).to_have_count(1)
    expect(friend.get_by_role("button", name="Delete it now")).to_have_count(0)


def test_knobs_are_turned_and_prompts_changed(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/images/9/knobs?layer=3&prompt=a+heart&prompt=a+blue+sun")
    expect(page.get_by_text("Nothing is turned yet")).to_be_visible()
    page.locator(".active .choice a").first.click()
    expect(page.locator(".edit")).to_have_count(1)
    page.locator(".edit input[name=to]").fill("40")
    page.locator(".edit").get_by_role("button", name="set").click()
    page.wait_for_url(re.compile(r"edit=\d+:40"))
    page.get_by_text("other words to compare it with").click()
    page.get_by_label("words 1").fill("a green fish")
    page.get_by_role("button", name="compare").click()
    expect(page.locator(".prompts tbody th").first).to_have_text("a green fish")
    page.get_by_role("link", name="undo all").click()
    expect(page.locator(".edit")).to_have_count(0)


def test_all_of_it_works_without_script(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/tiny/images/9")
    page.locator(".patches a").nth(136).click()
    page.wait_for_url("**/images/9/apart?layer=3&tokens=137")
    page.locator(".active .choose").first.click()
    expect(page.locator(".chosen")).to_be_visible()
    page.get_by_label("order by").select_option("mass")
    page.get_by_role("button", name="show").click()
    page.wait_for_url("**order=mass**")
    page.get_by_role("link", name="groups").click()
    page.get_by_role("link", name="20 %").click()
    page.get_by_role("link", name="knobs").click()
    page.locator(".offers a").first.click()
    expect(page.locator(".edit")).to_have_count(1)


def test_the_delete_link_works_in_another_browser_and_the_picture_is_gone(
    tiny_site: str, open_page: OpenPage
) -> None:
    watched = open_page(tiny_site, expect={410})
    page = watched.goto("/tiny/uploads")
    page.set_input_files("#image", picture())
    url = sent(page)
    page.get_by_role("button", name="Keep it 30 days").click()
    expect(page.get_by_role("button", name="Keep it 30 days")).to_have_count(0)
    link = page.locator(".delete-link copy-link").get_attribute("data-url") or ""
    other = open_page(tiny_site, expect={410}).goto(link)
    other.get_by_role("button", name="Delete it").click()
    expect(other.get_by_role("heading", name="This is gone")).to_be_visible()
    for address in (url, f"{url}/apart", f"{url}.webp"):
        answer = page.request.get(address)
        assert answer.status == 410


def test_a_busy_server_is_asked_again(tiny_site: str, open_page: OpenPage) -> None:
    watched = open_page(tiny_site, expect={503})
    tries = []

    def first_busy(route: Any) -> None:
        tries.append(route)
        if len(tries) > 1:
            route.continue_()
            return
        body = {"error": "busy", "detail": "16 pictures are being taken apart already."}
        route.fulfill(status=503, json=body, headers={"Retry-After": "1"})

    watched.page.route(
        "**/tiny/uploads",
        lambda route: first_busy(route) if route.request.method == "POST" else route.continue_(),
    )
    page = watched.goto("/tiny/uploads")
    page.set_input_files("#image", picture())
    page.get_by_role("button", name="Take it apart").click()
    expect(page.locator("[role=status]")).to_contain_text("It is sent again in 1 s")
    page.wait_for_url("**/tiny/uploads/*")
    assert len(tries) == 2


@pytest.mark.parametrize("name", PAGES)
def test_every_part_is_readable_by_all_and_on_a_phone(tiny_site: str, open_page: OpenPage, name: str) -> None:
    desk = open_page(tiny_site)
    page = desk.goto(f"/tiny/images/9{PAGES[name]}")
    assert page.locator("h1").count() == 1
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert grave_violations(page) == [], scheme
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    small = open_page(tiny_site, **phone).goto(f"/tiny/images/9{PAGES[name]}")
    assert small.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_finger_presses_patches_and_scrolls_the_page(tiny_site: str, open_page: OpenPage) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = open_page(tiny_site, **phone).goto("/tiny/images/9/apart?layer=3")
    box = page.locator("patch-picker").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] / 32, box["y"] + box["width"] / 32)
    page.wait_for_url("**/apart?layer=3&tokens=1")
    expect(page.locator("#here")).to_contain_text("at patch (0, 0)")
