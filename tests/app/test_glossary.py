"""The glossary page, and the addresses at which users of FastAPI look for the API's description."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.pages.glossary import sections
from scopeview.errors import InputError
from scopeview.store.slug import check_slug
from tests.app.conftest import StartSite
from tests.app.tree import tree

CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts.md"
TERMS = [term for section in sections() for term in section.terms]


def test_every_term_has_an_anchor_and_its_text_on_the_page(site: TestClient) -> None:
    page = tree(site.get("/glossary").text)
    for term in TERMS:
        assert page.one("dt", element_id=term.anchor).text == term.name
    assert [each.text for each in page.one(element_id="main").all("dd")] == [term.text for term in TERMS]
    assert len({term.anchor for term in TERMS}) == len(TERMS)


def test_every_page_links_to_the_glossary(site: TestClient) -> None:
    for address in ("/", "/tiny", "/tiny/1", "/tiny/1/0", "/tiny/images/3", "/tiny/nothing"):
        assert 'href="/glossary"' in site.get(address, headers={"Accept": "text/html"}).text


def test_the_documentation_has_the_same_glossary() -> None:
    documented = CONCEPTS.read_text()
    documented = documented[documented.index(f"## {sections()[0].title}") :]
    expected = [
        part
        for section in sections()
        for part in (f"## {section.title}", *(f"### {term.name} {term.text}" for term in section.terms))
    ]
    assert " ".join(documented.split()) == " ".join(expected)


@pytest.mark.parametrize(
    ("address", "target"), [("/docs", "/api"), ("/openapi.json", "/api/v1/openapi.json")]
)
@pytest.mark.parametrize("base_url", ["", "https://scope.example/scope"])
def test_the_usual_addresses_of_the_description_lead_to_it(
    start_site: StartSite, address: str, target: str, base_url: str
) -> None:
    site = start_site(base_url=base_url)
    for method in ("GET", "HEAD"):
        answer = site.request(method, address, follow_redirects=False)
        prefix = "/scope" if base_url else ""
        assert (answer.status_code, answer.headers["location"]) == (308, f"{prefix}{target}")
    assert site.get(target).status_code == 200


@pytest.mark.parametrize("slug", ["docs", "openapi.json", "glossary"])
def test_no_index_takes_these_addresses(slug: str) -> None:
    with pytest.raises(InputError):
        check_slug(slug)
