"""What htmx is asked for: each element says itself where the answer goes and what becomes of the address."""

import json
import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from app.assets import TEMPLATES_DIR
from tests.app.test_pages import ADDRESSES
from tests.conftest import PROJECT_DIR

ASKS = re.compile(r"hx-(get|post|put|patch|delete)=")
STATED = ("hx-target", "hx-swap", "hx-push-url")
THROUGH_MACROS = re.compile(r"\binto_view\(\)")
"""Writes them all."""
EDITED = "/tiny/images/5/steering?layer=3&edit=2:0&prompt=a+heart"


class Elements(HTMLParser):
    """The attributes of every element of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(dict(attrs))


def asking(html: str) -> list[dict[str, str | None]]:
    return [each for each in Elements(html).found if "hx-get" in each or "hx-post" in each]


def stated(element: dict[str, str | None]) -> bool:
    return all(element.get(name) for name in STATED)


@pytest.mark.parametrize("address", [*ADDRESSES, EDITED])
def test_every_element_that_asks_htmx_states_target_swap_and_address(site: TestClient, address: str) -> None:
    unstated = [element for element in asking(site.get(address).text) if not stated(element)]
    assert unstated == []


def test_an_overview_of_an_image_asks_htmx_for_nothing(site: TestClient) -> None:
    """Its patches lead to another page."""
    assert asking(site.get("/tiny/images/5").text) == []
    assert len(asking(site.get("/tiny/images/5/activations").text)) >= 10


def test_no_template_script_or_module_writes_a_request_without_its_target() -> None:
    sources = [
        *TEMPLATES_DIR.rglob("*.html"),
        *PROJECT_DIR.glob("app/**/*.py"),
        *PROJECT_DIR.glob("static/*.js"),
    ]
    lines = [(path.name, line) for path in sources for line in path.read_text().splitlines()]
    requests = [(name, line) for name, line in lines if ASKS.search(line)]
    wrong = [
        (name, line)
        for name, line in requests
        if not THROUGH_MACROS.search(line) and not all(f"{each}=" in line for each in STATED)
    ]
    assert len(requests) >= 8
    assert wrong == []


def test_htmx_inherits_no_attribute(site: TestClient) -> None:
    found = re.search(r"name=\"htmx-config\" content='([^']*)'", site.get("/").text)
    assert found is not None
    assert json.loads(found[1])["disableInheritance"] is True
