"""`/{index}/uploads`: the upload form, the result, extending and deleting an upload."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import Request

from app.pages.cards import ImageView
from app.pages.image.header import COOKIE, HeaderView, header_view, upload_image_view
from app.pages.image.overview import overview_frame, overview_grid, overview_page_frame, slot_link
from app.pages.image.patch_grid import GridView
from app.pages.image_slots import ImageSlotView, image_slot_views
from app.pages.layout import Link, frame_for
from app.pages.render import Page, base_url_of, render
from app.params.dependencies import IndexDep, SiteDep, TokenQuery
from app.params.view_params import AnyLayerQuery, slot_filter
from app.services.images import ImageRef, uploaded_image
from app.services.receive_upload import created_response, receive_upload, time_left_s
from app.state import AppState, OpenIndex
from app.uploads.store import EXTENDED_TTL_S, NewUpload
from app.urls import URLS, Urls
from app.web.caching import PRIVATE
from app.web.security import refuse_cross_site

KeyQuery = Annotated[str, Query(max_length=80, description="delete key, when there is no cookie")]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class UploadFormPage(Page):
    template = "uploads.html"

    action: str  # where the form goes
    curl_url: str  # the same for scripts, whole
    max_bytes: int
    max_pixels: int
    ttl_hours: float  # how long an image is kept
    long_days: int  # how long for whoever asks
    unavailable_reason: str | None  # why no image can be taken now
    ready: bool  # False: the model is loaded by the first upload, which takes longer


@dataclass(frozen=True)
class UploadPage(Page):
    template = "image/upload.html"

    header: HeaderView
    grid: GridView  # leads to what is active at a patch
    report: Link
    slots: list[ImageSlotView]
    all_layers: str | None  # the page with all layers, when one is shown alone


@dataclass(frozen=True)
class DeletePage(Page):
    template = "upload_delete.html"

    image: ImageView
    action: str
    expires_s: float  # since 1970


@router.get("/{index}/uploads", name="upload_form")
def form(request: Request, site: SiteDep, index: IndexDep) -> HTMLResponse:
    settings, index_dir = site.settings, index.reader.index_dir
    page = UploadFormPage(
        frame=frame_for(index, "upload"),
        action=URLS.uploads(index.slug),
        curl_url=Urls(base_url_of(request)).uploads(index.slug, api=True),
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_upload_pixels,
        ttl_hours=settings.upload_ttl_hours,
        long_days=round(EXTENDED_TTL_S / 86400),
        unavailable_reason=site.worker.unavailable_reason(index_dir),
        ready=site.worker.is_loaded(index_dir),
    )
    return render(request, page)


@router.post("/{index}/uploads", name="upload")
async def upload(request: Request, site: SiteDep, index: IndexDep) -> Response:
    """Receives an upload. Redirects browsers, whose forms accept HTML, to the result; scripts get JSON."""
    kept = await receive_upload(request, site, index)
    if "text/html" in request.headers.get("accept", ""):
        url = URLS.upload(index.slug, kept.upload.upload_id)
        answer: Response = RedirectResponse(url, status_code=303, headers=PRIVATE)
    else:
        answer = created_response(kept, site.json_urls)
    remember(answer, request, kept)
    return answer


@router.get("/{index}/uploads/{upload_id}.webp", name="upload_image")
def image(site: SiteDep, index: IndexDep, upload_id: str) -> Response:
    content = site.uploads.image(index.slug, upload_id)
    return Response(content, media_type="image/webp", headers=PRIVATE)


@router.get("/{index}/uploads/{upload_id}", name="upload_result")
def result(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    upload_id: str,
    layer: AnyLayerQuery = None,
    token: TokenQuery = None,
) -> HTMLResponse:
    found = uploaded_image(site, index, upload_id)
    return render(request, _page(request, site, index, found, layer, token), headers=PRIVATE)


@router.post("/{index}/uploads/{upload_id}/keep", name="upload_keep")
def keep(request: Request, site: SiteDep, index: IndexDep, upload_id: str, key: KeyQuery = "") -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    own = key or request.cookies.get(COOKIE, "")
    kept = site.uploads.keep_longer(index.slug, upload_id, own)
    url = URLS.upload(index.slug, upload_id)
    answer = RedirectResponse(url, status_code=303, headers=PRIVATE)
    remember(answer, request, NewUpload(kept, own))
    return answer


@router.get("/{index}/uploads/{upload_id}/delete", name="upload_delete_link")
def ask_to_delete(
    request: Request, site: SiteDep, index: IndexDep, upload_id: str, key: KeyQuery = ""
) -> HTMLResponse:
    """Asks before the deletion: a mail program that opens the delete link must not delete the image."""
    found = site.uploads.get(index.slug, upload_id)
    page = DeletePage(
        frame=frame_for(index, "delete your image"),
        image=upload_image_view(index, upload_id, URLS.upload(index.slug, upload_id)),
        action=URLS.delete_upload(index.slug, upload_id, key=key or None),
        expires_s=found.expires_s,
    )
    return render(request, page, headers={**PRIVATE, "Referrer-Policy": "no-referrer"})


@router.post("/{index}/uploads/{upload_id}/delete", name="upload_delete")
def delete(request: Request, site: SiteDep, index: IndexDep, upload_id: str, key: KeyQuery = "") -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    site.uploads.delete(index.slug, upload_id, key or request.cookies.get(COOKIE, ""))
    url = URLS.upload(index.slug, upload_id)
    answer = RedirectResponse(url, status_code=303, headers=PRIVATE)
    answer.delete_cookie(COOKIE, path=url)
    return answer


def _page(
    request: Request, site: AppState, index: OpenIndex, found: ImageRef, layer: str | None, token: str | None
) -> UploadPage:
    shown = slot_filter(index, layer, token)
    header = header_view(request, site, index, found, "", layer=shown.layer)
    can_run = header.why_not is None
    frame = overview_page_frame(
        index, found.address.name, shown, partial(URLS.image_part, index.slug, found.address.image)
    )
    assert found.upload is not None, "it is an upload"
    return UploadPage(
        frame=overview_frame(frame, index, found.address, shown) if can_run else frame,
        header=header,
        grid=overview_grid(index, found.address, can_run=can_run),
        report=Link("report", found.address.url("report")),
        slots=image_slot_views(index, found.upload.codes, shown, slot_link(found.address, can_run=can_run)),
        all_layers=found.address.url(token=shown.token) if shown.layer is not None else None,
    )


def remember(answer: Response, request: Request, kept: NewUpload) -> None:
    """Sets the delete key as a cookie of the browser, for this one upload, that no script can read."""
    upload = kept.upload
    answer.set_cookie(
        COOKIE,
        kept.delete_key,
        max_age=time_left_s(upload.expires_s),
        path=URLS.upload(upload.index, upload.upload_id),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
