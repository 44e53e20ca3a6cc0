"""Search, compare, report and the keys, as a visitor uses them: with and without script, on a phone too."""

import io
import json
import re
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

from tests.app.index import NEVER_FIRES
from tests.browser.axe import grave_violations
from tests.browser.conftest import OpenPage

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
FOCUSED = "document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || ''"


def sample_image() -> Any:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), (10, 160, 90)).save(buffer, "PNG")
    return {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def ask(page: Page, text: str) -> None:
    page.get_by_role("searchbox").first.fill(text)
    page.get_by_role("searchbox").first.press("Enter")
    page.wait_for_url("**/search?*")


def test_from_words_to_an_image_to_a_feature_and_back(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/3?token=137")
    ask(page, "red heart")
    expect(page.locator("h1")).to_contain_text("red heart")
    found = page.locator(".ranked-image .caption").all_inner_texts()
    page.locator(".ranked-image .image a").first.click()
    page.wait_for_url("**/tiny/images/*")
    page.locator(".slot .feature h3 a").first.click()
    page.wait_for_url(re.compile(r"/tiny/(1|3|embed)/[0-9]+\?token="))
    page.go_back()
    page.go_back()
    expect(page.get_by_role("searchbox").first).to_have_value("red heart")
    assert page.locator(".ranked-image .caption").all_inner_texts() == found
    page.go_forward()
    expect(page.locator("h1")).to_contain_text("Image")


def test_all_of_it_works_without_script(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/tiny/3?token=137")
    ask(page, "red heart")
    assert page.locator(".ranked-image").count() == 24
    page.locator(".search-by-image input[type=file]").set_input_files(sample_image())
    page.get_by_role("button", name="search", exact=True).click()
    page.wait_for_url("**/tiny/search?upload=*")
    expect(page.get_by_role("heading", name="Search by image")).to_be_visible()
    page.goto(f"{tiny_site}/tiny/compare")
    for feature in ("1:0", "3:1"):
        page.get_by_label("add").fill(feature)
        page.get_by_role("button", name="add", exact=True).click()
        page.wait_for_url(f"**{feature}")
    page.get_by_label("note").fill("look")
    page.get_by_role("button", name="add note to link").click()
    page.wait_for_url("**/tiny/compare?features=1%3A0%2C3%3A1&note=look")
    expect(page.locator(".note")).to_have_text("look")


def test_a_number_jumps_to_the_feature_of_the_layer_one_is_at(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/3?token=137")
    page.get_by_role("searchbox").first.fill("5")
    page.get_by_role("searchbox").first.press("Enter")
    page.wait_for_url("**/tiny/3/5?token=137")


def test_an_image_is_searched_by_from_the_box(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny")
    page.locator(".search-image input").set_input_files(sample_image())
    page.wait_for_url("**/tiny/search?upload=*")
    assert page.locator(".ranked-image").count() == 24
    friend = open_page(tiny_site).goto(page.url.removeprefix(tiny_site))
    expect(friend.get_by_role("heading", name="Search by image")).to_be_visible()


def test_an_image_is_reported(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, java_script_enabled=False).goto("/tiny/images/12")
    page.get_by_role("link", name="report").click()
    page.get_by_label("something else").check()
    page.get_by_label("details").fill("it is mine")
    page.get_by_role("button", name="Send report").click()
    expect(page.get_by_role("status")).to_contain_text("Thank you")


def test_on_a_phone_one_searches_compares_and_shares(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site, **PHONE).goto("/tiny/3")
    ask(page, "red heart")
    page.locator(".ranked-image .image a").first.tap()
    page.wait_for_url("**/tiny/images/*")
    page.goto(f"{tiny_site}/tiny/compare?features=1:0,3:1,1:2:any,embed:0", wait_until="networkidle")
    assert page.locator(".compared-feature").count() == 4
    for address in (
        "/tiny/search?q=heart",
        "/tiny/compare?features=1:0,3:1",
        "/tiny/images/3/report",
        "/patterns",
    ):
        page.goto(tiny_site + address, wait_until="networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


def test_keys_walk_over_features_and_tokens(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto(f"/tiny/1/{NEVER_FIRES - 1}")
    page.keyboard.press("j")
    page.wait_for_url(f"**/tiny/1/{NEVER_FIRES + 1}?token=cls")
    page.keyboard.press("k")
    page.wait_for_url(f"**/tiny/1/{NEVER_FIRES - 1}?token=cls")
    page.keyboard.press("t")
    page.wait_for_url(f"**/tiny/1/{NEVER_FIRES - 1}?token=137")


def test_keys_of_a_gallery_go_from_card_to_card(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1")
    links = page.locator("main .feature h3 a")
    for key, at in (("j", 0), ("j", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        expect(links.nth(at)).to_be_focused()


def test_the_slash_leads_to_the_box_and_no_key_works_while_one_types(
    tiny_site: str, open_page: OpenPage
) -> None:
    page = open_page(tiny_site).goto("/tiny/1/0")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox").first).to_be_focused()
    page.keyboard.type("jkth?/")
    expect(page.get_by_role("searchbox").first).to_have_value("jkth?/")
    assert page.url.endswith("/tiny/1/0")


def test_the_list_of_keys_is_a_dialog(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/tiny/1/0")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    assert grave_violations(page) == []
    page.keyboard.press("j")  # no key of the page works behind it
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="shortcuts").click()
    page.get_by_role("button", name="close").click()
    expect(dialog).to_be_hidden()


def test_by_keyboard_alone_from_home_to_a_features_raw_json(tiny_site: str, open_page: OpenPage) -> None:
    page = open_page(tiny_site).goto("/")
    for words in (r"tiny", r"3", r"L3 · \d+", r"JSON"):
        tab_to(page, words)
        with page.expect_navigation(wait_until="load"):
            page.keyboard.press("Enter")
    found = json.loads(page.locator("body").inner_text())
    assert (found["index"], found["layer"]) == ("tiny", 3)


def tab_to(page: Page, words: str) -> None:
    """Presses Tab until what is focused says exactly that."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if re.fullmatch(words, str(page.evaluate(FOCUSED)).strip()):
            return
    raise AssertionError(f"no Tab leads to {words}")
