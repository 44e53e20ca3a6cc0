"""`/{index}/images/{image_id}`: one indexed image and its strongest features of every layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.requests import Request

from app.formatting import safe_link
from app.pages.image.header import HeaderView, header_view
from app.pages.image.patch_grid import TOKENS, GridView, patch_links
from app.pages.image.view_state import tokens_there
from app.pages.image_slots import ImageSlotView, image_link, image_slot_views
from app.pages.layout import Frame, Link, LinkTo, frame_for
from app.pages.render import Page, render
from app.params.dependencies import ImagePath, IndexDep, SiteDep, TokenQuery
from app.params.view_params import AnyLayerQuery, SlotFilter, slot_filter
from app.services.images import indexed_image
from app.state import OpenIndex
from app.urls import URLS, ImageAddress
from scopeview.slots import ANY, CLS, EMBED, Slot
from scopeview.store.records import ImageRow

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ImagePage(Page):
    template = "image/overview.html"
    for_everyone = True

    header: HeaderView
    grid: GridView  # leads to what is active at a patch
    image: ImageRow
    source: str | None  # http or https
    report: Link  # to tell that it should not be shown
    slots: list[ImageSlotView]  # what is shown of its codes
    all_layers: str | None  # the page with all layers, when one is shown alone
    previous: Link | None  # by image id
    following: Link | None


@router.get("/{index}/images/{image_id}", name="image")
def image_page(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image_id: ImagePath,
    layer: AnyLayerQuery = None,
    token: TokenQuery = None,
) -> HTMLResponse:
    image, shown = indexed_image(index, image_id), slot_filter(index, layer, token)
    assert image.row is not None, "it is an indexed image"
    header = header_view(request, site, index, image, "", layer=shown.layer)
    can_run = header.why_not is None
    frame = overview_page_frame(index, image.address.name, shown, partial(URLS.image, index.slug, image_id))
    page = ImagePage(
        frame=overview_frame(frame, index, image.address, shown) if can_run else frame,
        header=header,
        grid=overview_grid(index, image.address, can_run=can_run),
        image=image.row,
        source=safe_link(image.row.source_url),
        report=Link("report", URLS.report(index.slug, image_id)),
        slots=image_slot_views(index, image.codes, shown, slot_link(image.address, can_run=can_run)),
        all_layers=image.address.url(token=shown.token) if shown.layer is not None else None,
        previous=_image_link(index, image_id - 1),
        following=_image_link(index, image_id + 1),
    )
    return render(request, page)


def overview_page_frame(index: OpenIndex, title: str, shown: SlotFilter, url: Callable[..., str]) -> Frame:
    """Builds the frame: rail and switch keep the image; with no layer chosen, the switch sets them all."""
    frame = frame_for(
        index,
        title,
        layer=shown.layer,
        token=shown.token,
        link=image_link(url),
        json_url=url(api=True),
    )
    if shown.layer is not None:
        return frame
    first = next((slot for slot in index.manifest.slots if slot.token == shown.token), None)
    assert isinstance(first, Slot)
    switch = frame_for(
        index, title, layer=first.layer, token=shown.token, link=lambda _, token: url(token=token)
    )
    return replace(frame, tokens=switch.tokens)


def _image_link(index: OpenIndex, image_id: int) -> Link | None:
    if not 0 <= image_id < index.manifest.n_images:
        return None
    return Link(f"image {image_id}", URLS.image(index.slug, image_id))


def overview_grid(index: OpenIndex, at: ImageAddress, *, can_run: bool) -> GridView:
    """Builds the grid: a patch leads to its features in the deepest block; no patches without a model."""
    layer = index.deepest_layer
    size = index.manifest.model.grid_size if can_run and layer != EMBED else 0
    url = at.url("activations", layer=layer, tokens=TOKENS)
    switch = [
        Link("CLS", at.url("activations", layer=layer, tokens=CLS), title="it summarizes the image"),
        Link("whole image", at.url("activations", layer=layer, tokens=ANY), title="all patches and CLS"),
    ]
    links = patch_links(url, size) if size else Markup("")
    return GridView(size, url, links, "", ANY, switch if size else [])


def overview_frame(frame: Frame, index: OpenIndex, at: ImageAddress, shown: SlotFilter) -> Frame:
    """Makes the rail lead to a layer's activations, at the same token."""
    layers = [
        replace(link, url=at.url("activations", layer=layer, tokens=tokens_there(layer, shown.token)))
        for link, layer in zip(frame.layers, index.layers, strict=True)
    ]
    return replace(frame, layers=layers)


def slot_link(at: ImageAddress, *, can_run: bool) -> LinkTo:
    """Returns the link to a layer's active features; without a model, to its stored code."""
    if not can_run:
        return image_link(at.url)
    return lambda layer, token: at.url("activations", layer=layer, tokens=token)
