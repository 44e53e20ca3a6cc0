"""The edits in the address of a steering page, and links that add, change or remove one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.formatting import significant
from app.pages.layout import Link
from app.urls import ImageAddress
from scopeview.analysis.feature_edits import Edit, format_edit
from scopeview.analysis.token_selection import Selection
from scopeview.slots import Layer

TURNS: tuple[tuple[str, str, str], ...] = (
    ("0", "0", "remove"),
    ("x0.5", "½", "halve"),
    ("x2", "2 ×", "double"),
)


@dataclass(frozen=True)
class SteeringState:
    """The whole state in the address."""

    at: ImageAddress
    layer: Layer
    selection: Selection
    edits: tuple[Edit, ...] = ()
    prompts: tuple[str, ...] = ()

    def url(self, *, api: bool = False) -> str:
        return self.at.url("steering", api=api, **self.query())

    def query(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "tokens": self.selection.text,
            "edit": [format_edit(edit) for edit in self.edits],
            "prompt": list(self.prompts),
        }

    def without(self, features: Sequence[int]) -> "SteeringState":
        return replace(self, edits=tuple(edit for edit in self.edits if edit.features != tuple(features)))

    def with_edit(self, edit: Edit) -> "SteeringState":
        """Returns the state with this edit, in place of one of the same features, or at the end."""
        if any(each.features == edit.features for each in self.edits):
            same = (edit if each.features == edit.features else each for each in self.edits)
            return replace(self, edits=tuple(same))
        return replace(self, edits=(*self.edits, edit))

    def hidden(self, *names: str) -> list[tuple[str, str]]:
        """Returns the hidden fields of a form: the query without those names."""
        return [
            (name, str(each))
            for name, value in self.query().items()
            if name not in names
            for each in (value if isinstance(value, list) else [value])
        ]


def edit_links(state: SteeringState, features: Sequence[int]) -> list[Link]:
    """Returns a link per kind of edit for these features; the one in use is current, and undoes itself."""
    now = next((edit for edit in state.edits if edit.features == tuple(features)), None)
    links = []
    for text, label, words in TURNS:
        scale = text.startswith("x")
        edit = Edit(tuple(features), "scale" if scale else "set", float(text.removeprefix("x")))
        current = now == edit
        to = state.without(features) if current else state.with_edit(edit)
        links.append(Link(label, to.url(), current, "undo" if current else words))
    return links


def edit_words(edit: Edit) -> str:
    """`set to 4.5`, `halved`, `scaled by 2`"""
    if edit.kind == "set":
        return "removed" if edit.amount == 0 else f"set to {significant(edit.amount)}"
    return "halved" if edit.amount == 0.5 else f"scaled by {significant(edit.amount)}"
