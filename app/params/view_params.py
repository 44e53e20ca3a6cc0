"""Query parameters of views of an image, for pages and JSON: layer, tokens, order, edits, prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import Field

from app.params.dependencies import WHOLE, known_token
from app.state import OpenIndex
from app.web.errors import ProblemError, listed, unprocessable
from scopeview.analysis.feature_edits import Edit, parse_edit
from scopeview.analysis.token_selection import ORDERS, Order, Selection, parse_selection
from scopeview.errors import InputError
from scopeview.slots import EMBED, Layer, Token, parse_layer, parse_number
from scopeview.vision.patches import n_tokens

MAX_EDITS, MAX_PROMPTS, MAX_PROMPT_CHARS = 32, 32, 200

LayerQuery = Annotated[str | None, Query(description="the first of the index when not given")]
DeepLayerQuery = Annotated[str | None, Query(description="the last block of the index when not given")]
AnyLayerQuery = Annotated[str | None, Query(description="a single layer; all when not given")]
TokensQuery = Annotated[str, Query(description="`any` (all tokens), `cls`, or numbers such as 17,33-35")]
OrderQuery = Annotated[str, Query(description=f"one of {listed(ORDERS)}")]
TopQuery = Annotated[int, Field(ge=1, le=2000), WHOLE, Query(description="maximum number of features listed")]
LeastQuery = Annotated[float, Query(ge=0, le=1e6, description="hide features with a lower activation")]
ThresholdQuery = Annotated[
    float, Query(ge=0.01, le=1, description="minimum share of activation in each group")
]
FeaturesQuery = Annotated[str, Query(description="feature numbers separated by commas", max_length=20_000)]
EditsQuery = Annotated[
    Sequence[str],
    Query(
        max_length=MAX_EDITS,
        description="`12:0` sets feature 12 to 0, `12,55:x0.5` halves two; may be repeated",
    ),
]
OtherImageQuery = Annotated[
    str, Query(alias="with", max_length=40, description="number of an image, or id of an upload")
]
PromptsQuery = Annotated[Sequence[str], Query(max_length=MAX_PROMPTS, description="texts to compare")]


def known_layer(index: OpenIndex, layer: str | None) -> Layer:
    """Parses a layer; None means the first. Raises a 422 that names the available layers."""
    try:
        parsed = index.layers[0] if layer is None else parse_layer(layer)
    except InputError:
        parsed = -1
    if parsed not in index.layers:
        raise unprocessable("layer", layer, listed(index.layers))
    return parsed


def deep_layer(index: OpenIndex, layer: str | None) -> Layer:
    """Like `known_layer`, with the last block as default."""
    return index.deepest_layer if layer is None else known_layer(index, layer)


@dataclass(frozen=True)
class SlotFilter:
    """The slots of an image to show: all layers at one token, or one layer."""

    layer: Layer | None
    token: Token


def slot_filter(index: OpenIndex, layer: str | None, token: str | None) -> SlotFilter:
    """Parses the filter from the query. Raises a 422 that names what is accepted."""
    at = None if layer is None else known_layer(index, layer)
    tokens = index.manifest.tokens if at is None else index.tokens(at)
    return SlotFilter(at, tokens[0] if token is None else known_token(token, list(tokens)))


def known_selection(index: OpenIndex, layer: Layer, tokens: str) -> Selection:
    """Parses the selected tokens. Raises a 422 that names the layer's tokens."""
    at = 1 if layer == EMBED else n_tokens(index.manifest.model.grid_size)
    try:
        return parse_selection(tokens, at)
    except InputError as error:
        raise ProblemError(422, "unprocessable", str(error)) from None


def known_order(order: str) -> Order:
    for known in ORDERS:
        if order == known:
            return known
    raise unprocessable("order", order, listed(ORDERS))


def known_features(index: OpenIndex, layer: Layer, features: str) -> list[int]:
    """Parses feature numbers, each once. Raises a 422 if one is malformed or the layer lacks it."""
    numbers = [parse_number(part) for part in features.split(",")]
    found = list(dict.fromkeys(number for number in numbers if number is not None))
    if None in numbers or max(found) >= index.n_features(layer):
        raise unprocessable("features", features, f"0 to {index.n_features(layer) - 1}, separated by commas")
    return found


def known_edits(index: OpenIndex, layer: Layer, edits: Sequence[str]) -> tuple[Edit, ...]:
    """Parses edits. Raises a 422 if one is malformed or the layer lacks its feature."""
    found: list[Edit] = []
    for text in edits:
        try:
            found.append(parse_edit(text))
        except InputError as error:
            raise ProblemError(422, "unprocessable", str(error)) from None
        if max(found[-1].features) >= index.n_features(layer):
            raise unprocessable("edit", text, f"features 0 to {index.n_features(layer) - 1}")
    return tuple(found)


def known_prompts(prompts: Sequence[str]) -> list[str]:
    """Returns the prompts, each once, without empty ones. Raises a 422 for one that is too long."""
    found = list(dict.fromkeys(" ".join(prompt.split()) for prompt in prompts))
    for prompt in found:
        if len(prompt) > MAX_PROMPT_CHARS:
            raise unprocessable("prompt", prompt, f"at most {MAX_PROMPT_CHARS} characters")
    return [prompt for prompt in found if prompt]
