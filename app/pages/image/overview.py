"""`/{index}/images/{image_id}`: one indexed image and the features that see it, layer by layer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.formatting import safe_link
from app.pages.image.header import HeaderView, header_view
from app.pages.image.overview_grid import overview_frame, overview_grid, slot_link
from app.pages.image.patch_grid import GridView
from app.pages.image_slots import SlotOfPicture, picture_link, slots_of_picture
from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page, render
from app.params.common import ImagePath, IndexDep, SiteDep, TokenQuery
from app.params.view_params import AnyLayerQuery, SlotFilter, slot_filter
from app.services.images import indexed_image
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Slot
from scopeview.store.records import ImageRow

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ImagePage(Page):
    template = "image/overview.html"
    for_everyone = True

    subject: HeaderView
    grid: GridView  # leads to what is active at a patch
    image: ImageRow
    source: str | None  # http or https
    report: Link  # to tell that it should not be slot_filter
    slots: list[SlotOfPicture]  # what is slot_filter of its codes
    all_layers: str | None  # the page with all layers, when one is slot_filter alone
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
    image, what = indexed_image(index, image_id), slot_filter(index, layer, token)
    assert image.row is not None, "it is an indexed image"
    subject = header_view(request, site, index, image, "", layer=what.layer)
    can_run = subject.why_not is None
    frame = picture_frame(index, image.address.name, what, partial(URLS.image, index.slug, image_id))
    page = ImagePage(
        frame=overview_frame(frame, index, image.address, what) if can_run else frame,
        subject=subject,
        grid=overview_grid(index, image.address, can_run=can_run),
        image=image.row,
        source=safe_link(image.row.source_url),
        report=Link("report", URLS.report(index.slug, image_id)),
        slots=slots_of_picture(index, image.codes, what, slot_link(image.address, can_run=can_run)),
        all_layers=image.address.url(token=what.token) if what.layer is not None else None,
        previous=_image_link(index, image_id - 1),
        following=_image_link(index, image_id + 1),
    )
    return render(request, page)


def picture_frame(index: OpenIndex, title: str, what: SlotFilter, url: Callable[..., str]) -> Frame:
    """The rail and the switch keep the picture; with no layer chosen the switch changes them all."""
    frame = frame_for(
        index,
        title,
        layer=what.layer,
        token=what.token,
        link=picture_link(url),
        json_url=url(api=True),
    )
    if what.layer is not None:
        return frame
    first = next((slot for slot in index.manifest.slots if slot.token == what.token), None)
    assert isinstance(first, Slot)
    switch = frame_for(
        index, title, layer=first.layer, token=what.token, link=lambda _, token: url(token=token)
    )
    return replace(frame, tokens=switch.tokens)


def _image_link(index: OpenIndex, image_id: int) -> Link | None:
    if not 0 <= image_id < index.manifest.n_images:
        return None
    return Link(f"image {image_id}", URLS.image(index.slug, image_id))
