"""The query string of the activations page: layer, tokens, and how the list is made. Pure."""

from dataclasses import dataclass, replace
from typing import Any

from app.formatting import place
from app.urls import ImageAddress
from scopeview.analysis.token_selection import Order, Selection
from scopeview.slots import ANY, CLS, EMBED, Layer

TOP = 24
"""Features listed unless the address says otherwise."""


@dataclass(frozen=True)
class ViewState:
    """The state of the page. Addresses leave out defaults, so that a plain view has one address."""

    at: ImageAddress
    layer: Layer
    selection: Selection
    feature: int | None = None
    order: Order = "activation"
    top: int = TOP
    least: float = 0.0

    def url(self, *, api: bool = False) -> str:
        return self.at.url("activations", api=api, **self.query())

    def query(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "tokens": self.selection.text,
            "feature": self.feature,
            "order": None if self.order == "activation" else self.order,
            "top": None if self.top == TOP else self.top,
            "least": f"{self.least:g}" if self.least else None,
        }

    def with_feature(self, feature: int | None) -> "ViewState":
        return replace(self, feature=feature)

    def with_tokens(self, tokens: str) -> "ViewState":
        """Returns the view at other tokens, written as in addresses."""
        return replace(self, selection=Selection(tokens, self.selection.positions))

    def at_layer(self, layer: Layer, token: str | None) -> "ViewState":
        """Returns the view at another layer, without the feature, or at a token of the switch.

        The feature's number means another feature there.
        """
        tokens = tokens_there(layer, self.selection.text if token is None else token)
        feature = self.feature if layer == self.layer else None
        return replace(self.with_tokens(tokens), layer=layer, feature=feature)


def tokens_there(layer: Layer, tokens: str) -> str:
    """Returns the tokens; at the embedding, which has a single token, other selections become `any`."""
    return tokens if layer != EMBED or tokens in (ANY, CLS) else ANY


def selection_words(selection: Selection, layer: Layer, grid: int) -> str:
    """`at patch (8, 8)`, `at 12 patches and CLS`, `in the whole image`"""
    if layer == EMBED:
        return "in the embedding"
    if selection.positions is None:
        return "in the whole image"
    patches = [position for position in selection.positions if position > 0]
    has_cls = len(patches) < len(selection.positions)
    words = place(patches[0], grid) if len(patches) == 1 else f"{len(patches)} patches"
    if not patches:
        return "at CLS"
    return f"at {words} and CLS" if has_cls else f"at {words}"
