"""The documentation site: its reference pages say all that the code knows. `make docs` checks its links."""

import re
from pathlib import Path

import pytest

from app.settings import Settings
from scopeview.index_api import Index
from scripts import docs_reference

ROOT = Path(__file__).resolve().parent.parent


def test_every_setting_is_in_the_reference() -> None:
    text = docs_reference.settings()
    assert "``" not in text
    assert "|  |" not in text  # a default or a description is missing
    assert [name for name in Settings.model_fields if f"`SCOPEVIEW_{name.upper()}`" not in text] == []


@pytest.mark.parametrize(
    "command", ["index", "describe", "serve", "train-sae", "eval features", "demo-images"]
)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"## scopeview {command}\n" in docs_reference.commands()


def test_every_resource_of_the_api_is_in_the_reference() -> None:
    assert "`GET /api/v1/{index}/{layer}/{feature}`" in docs_reference.routes()


def test_all_that_an_opened_index_offers_has_a_docstring_and_so_is_in_the_reference() -> None:
    public = [name for name in dir(Index) if not name.startswith("_") and name != "on_damage"]  # a hook
    assert [name for name in public if not getattr(Index, name).__doc__] == []


def test_a_page_with_an_unknown_reference_is_an_error() -> None:
    with pytest.raises(KeyError, match="riddles"):
        docs_reference.on_page_markdown("<!-- reference: riddles -->")


def test_every_page_is_in_the_navigation() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages == set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
