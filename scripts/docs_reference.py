"""A hook of mkdocs: writes what the code knows into the reference pages, so that they cannot fall behind it.

A page asks with a comment, `<!-- reference: NAME -->`; an unknown NAME is an error.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperArgument, TyperGroup, TyperOption

from app.main import create_app
from app.settings import Settings
from scopeview.__main__ import cli

_PLACE = re.compile(r"<!-- reference: ([a-z]+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page, with its text."""
    return _PLACE.sub(lambda place: REFERENCES[place[1]](), markdown)


def routes() -> str:
    """Every operation of the JSON API: method, path, what it is."""
    paths = create_app(Settings(index_dirs=[Path("index")])).openapi()["paths"]
    rows = [
        (f"`{method.upper()} {path}`", operation["summary"])
        for path, operations in paths.items()
        for method, operation in operations.items()
    ]
    return _table(("request", "answer"), rows)


def settings() -> str:
    """Every setting of the server: environment variable, default, what it does."""
    rows = [
        (f"`SCOPEVIEW_{name.upper()}`", _default(field), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "default", "what it does"), rows)


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_commands(typer.main.get_command(cli), "scopeview"))


REFERENCES: dict[str, Callable[[], str]] = {"routes": routes, "settings": settings, "commands": commands}


def _commands(command: Any, name: str) -> list[str]:
    """A section for the command, or for each of those below it."""
    if isinstance(command, TyperGroup):
        inner = [_commands(each, f"{name} {word}") for word, each in command.commands.items()]
        return [section for sections in inner for section in sections]
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [f"{param.name or ''}".upper() for param in shown if isinstance(param, TyperArgument)]
    rows = [
        (" ".join(f"`{flag}`" for flag in option.opts), " ".join((option.help or "").split()))
        for option in shown
        if isinstance(option, TyperOption)
    ]
    about = " ".join((command.help or "").split())
    usage = " ".join([name, *arguments])
    return [f"## {name}\n\n`{usage}`\n\n{about}\n\n{_table(('option', 'what it does'), rows)}"]


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    return f"`{field.default}`" if field.default not in ("", None) else "none"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    cells = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
