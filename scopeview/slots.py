"""Layers, tokens and slots: the coordinates of everything in an index.

A *layer* is a block number, 0-based (the residual stream after that block), or `embed`, the final projected
image embedding. A *token* is `cls`, a token number written as a string such as `137`, or `any` (the maximum
over all tokens). A *slot* is one (layer, token). The embedding has no
tokens: its only slot is (`embed`, `cls`).
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from scopeview.errors import InputError

Embed = Literal["embed"]
Layer = int | Embed
Token = str

EMBED: Embed = "embed"
CLS: Token = "cls"
ANY: Token = "any"

# No sign, no leading zero, no underscore: one spelling a number, so that one page has one URL.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,11}")


class Slot(NamedTuple):
    """One (layer, token)."""

    layer: Layer
    token: Token

    @property
    def name(self) -> str:
        """The slot's name in file names, such as `11-cls`."""
        return f"{self.layer}-{self.token}"


def parse_number(text: str) -> int | None:
    """Parses a non-negative integer in its only accepted spelling; returns None for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_layer(text: str) -> Layer:
    """Parses a layer: `22` -> 22, `embed` -> "embed". Raises `InputError` for anything else."""
    if text == EMBED:
        return EMBED
    number = parse_number(text)
    if number is None:
        raise InputError(f"layer {text!r} is not a block number (0, 1, 2, ...) or 'embed'")
    return number


def parse_token(text: str | int) -> Token:
    """Parses a token: `cls`, `any` or a token number; `0` is `cls`. Raises `InputError` for anything else."""
    text = str(text)
    if text in (CLS, ANY):
        return text
    number = parse_number(text)
    if number is None:
        raise InputError(f"token {text!r} is not 'cls', 'any' or a token number (1, 2, ...)")
    return CLS if number == 0 else str(number)


def token_number(token: Token) -> int | None:
    """The position in the sequence: 0 for `cls`, None for `any`."""
    if token == ANY:
        return None
    return 0 if token == CLS else int(token)


def slots_of(layers: Iterable[Layer], tokens: Iterable[Token]) -> list[Slot]:
    """Every slot in index order: by layer as given, then by token as given; `embed` has only `cls`."""
    tokens = list(tokens)
    return [Slot(layer, token) for layer in layers for token in ([CLS] if layer == EMBED else tokens)]
