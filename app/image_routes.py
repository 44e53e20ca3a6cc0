"""Thumbnails, grids and static files, with ETags."""

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from app.assets import static_assets
from app.params.dependencies import IndexDep
from app.state import OpenIndex
from app.web.caching import versioned_response
from app.web.errors import ProblemError
from scopeview.errors import InputError, NotFoundError
from scopeview.slots import Slot, parse_layer, parse_number, parse_token

router = APIRouter(include_in_schema=False)


@router.get("/static/{name:path}", name="static")
def static(request: Request, name: str) -> Response:
    asset = static_assets().get(name)
    if asset is None:
        raise ProblemError(404, "not_found", "There is no such file.")
    return versioned_response(request, asset.content, asset.media_type, asset.version, asset.version)


@router.get("/favicon.ico", name="favicon")
def favicon(request: Request) -> Response:
    """Serves the icon at its default path: JSON and images do not say where the icon is."""
    return static(request, "icon.svg")


@router.get("/{index}/thumbs/{name}.webp", name="thumb")
def thumb(request: Request, index: IndexDep, name: str) -> Response:
    image_id = _number(name)
    return versioned_response(
        request, index.reader.thumb(image_id), "image/webp", index.version, f"{index.version}-t{image_id}"
    )


@router.get("/{index}/grids/{layer}/{token}/{name}.webp", name="grid")
def grid(request: Request, index: IndexDep, layer: str, token: str, name: str) -> Response:
    slot, feature = _slot(index, layer, token), _number(name)
    sprite = index.reader.grid(slot, feature)
    version = index.grid_version(index.reader.grid_image_ids(slot, feature))
    return versioned_response(request, sprite, "image/webp", version, f"{version}-g{slot.name}-{feature}")


def _number(text: str) -> int:
    number = parse_number(text)
    if number is None or number > 2**31 - 1:
        raise NotFoundError(f"{text[:40]!r} is not an image number.")
    return number


def _slot(index: OpenIndex, layer: str, token: str) -> Slot:
    """Returns the slot of a path. Each slot has one spelling there: anything else is a 404."""
    try:
        slot = Slot(parse_layer(layer), parse_token(token))
    except InputError as error:
        raise NotFoundError(str(error)) from None
    if slot.token != token or slot not in index.manifest.slots:
        raise NotFoundError(f"{index.slug} has no layer {layer[:40]} at token {token[:40]}.")
    return slot
