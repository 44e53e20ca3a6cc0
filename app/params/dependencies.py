"""Ids in the path and values in the query, parsed once for pages and JSON alike.

A malformed id in the path is a 404, a bad query value a 422 that names what is accepted (see `web.errors`).
"""

from typing import Annotated, Any

from fastapi import Depends, Path, Query
from pydantic import BeforeValidator, Field
from starlette.requests import Request

from app.state import AppState, OpenIndex
from app.web.errors import listed, unprocessable
from scopeview.errors import InputError, NotFoundError
from scopeview.slots import Layer, Slot, parse_layer, parse_number, parse_token
from scopeview.store.records import SORTS, Sort

PAGE_SIZE = 48
MAX_LIMIT = 500


def whole_number(value: Any) -> int:
    """Parses a whole number. Refuses `1_0` and `+1`, which Python's int() takes: a page has one URL."""
    number = value if isinstance(value, int) else parse_number(str(value))
    if number is None or number > 2**31 - 1:
        raise ValueError("expected a whole number: 0, 1, 2, ...")
    return number


def _layer(value: Any) -> Layer:
    try:
        return parse_layer(str(value))
    except InputError as error:
        raise ValueError(str(error)) from None


# Bounds stand before the validator: behind it they are no part of the schema of a number.
WHOLE = BeforeValidator(whole_number)
Number = Annotated[int, Field(ge=0, le=2**31 - 1), WHOLE]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1), WHOLE]
LayerPath = Annotated[Layer, BeforeValidator(_layer), Path(description='block number, or "embed"')]
FeaturePath = Annotated[Number, Path(description="feature number")]
ImagePath = Annotated[Number, Path(description="image number in this index")]
TokenQuery = Annotated[
    str | None, Query(description="`cls`, a token number or `any`; the layer's first when not given")
]
SortQuery = Annotated[str, Query(description=f"one of {listed(SORTS)}")]
SeedQuery = Annotated[Number, Query(description="seed of the random order")]
PageQuery = Annotated[Positive, Query(description="page number, from 1")]
FirstQuery = Annotated[Positive | None, Query(description="first of several pages shown as one")]
PlotQuery = Annotated[int, Field(ge=0, le=1), WHOLE, Query(description="1: with the scatter plot")]
LimitQuery = Annotated[int, Field(ge=1, le=MAX_LIMIT), WHOLE, Query(description=f"at most {MAX_LIMIT}")]
OffsetQuery = Annotated[Number, Query(description="number of items to skip")]


def site_of(request: Request) -> AppState:
    site: AppState = request.app.state.site
    return site


# Dependencies that only look something up are coroutines: as functions each would wait for a thread. They
# name few others: what is named twice is gone through twice.


async def _site(request: Request) -> AppState:
    return site_of(request)


SiteDep = Annotated[AppState, Depends(_site)]


async def open_index(request: Request, index: Annotated[str, Path(description="index name")]) -> OpenIndex:
    """Returns the index. Raises `NotFoundError` if it is not served here."""
    site = site_of(request)
    found = site.indexes.get(index)
    if found is None:
        raise NotFoundError(f"This server has no index {index[:80]!r}. It has {listed(list(site.indexes))}.")
    return found


IndexDep = Annotated[OpenIndex, Depends(open_index)]


async def found_slot(index: IndexDep, layer: LayerPath, token: TokenQuery = None) -> Slot:
    """Returns the slot. An unknown layer (in the path) is a 404, an unknown token (in the query) a 422."""
    return slot_of(index, layer, token)


SlotDep = Annotated[Slot, Depends(found_slot)]


def slot_of(index: OpenIndex, layer: Layer, token: str | None) -> Slot:
    """Returns the slot of the index; without a token, the layer's first. Raises as `found_slot` does."""
    tokens = index.tokens(layer)
    if not tokens:
        raise NotFoundError(f"{index.slug} has no layer {layer}. It has {listed(index.layers)}.")
    return Slot(layer, tokens[0] if token is None else known_token(token, tokens))


def known_token(token: str, tokens: list[str]) -> str:
    """Returns the parsed token. Raises a 422 that names the available tokens."""
    try:
        parsed = parse_token(token)
    except InputError:
        parsed = ""
    if parsed not in tokens:
        raise unprocessable("token", token, listed(tokens))
    return parsed


def known_sort(sort: str) -> Sort:
    """Returns the sort order. Raises a 422 that names the available orders."""
    for known in SORTS:
        if sort == known:
            return known
    raise unprocessable("sort", sort, listed(SORTS))
