"""`/{index}/uploads` and below: the form, what became of a picture, and its deletion."""

from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import Request

from app.api.uploads import PRIVATE, created
from app.pages.frame import URLS, frame_for
from app.pages.image import LayerQuery, picture_frame
from app.pages.parts import PictureView
from app.pages.render import Page, render
from app.pages.taken_apart import SlotOfPicture, picture_link, shown, slots_of_picture
from app.params import IndexDep, SiteDep, TokenQuery
from app.security import refuse_cross_site
from app.site import OpenIndex
from app.upload.store import Kept, Upload, may_delete
from app.upload.taking import take_in, time_left_s

COOKIE = "delete_key"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class UploadFormPage(Page):
    template = "uploads.html"

    action: str  # where the form goes
    max_bytes: int
    max_pixels: int
    ttl_hours: float  # how long a picture is kept
    why_absent: str | None  # why no picture can be taken now
    ready: bool  # False: the model is loaded by the first upload, which takes longer


@dataclass(frozen=True)
class UploadPage(Page):
    template = "upload.html"

    picture: PictureView
    expires_s: float  # since 1970
    delete_url: str | None  # only for the browser that sent the picture
    slots: list[SlotOfPicture]
    all_layers: str | None  # the page with all layers, when one is shown alone
    another: str  # the form again
    outdated: bool  # the index was rebuilt since: feature numbers may mean something else


@router.get("/{index}/uploads", name="upload_form")
def form(request: Request, site: SiteDep, index: IndexDep) -> HTMLResponse:
    settings, index_dir = site.settings, index.reader.index_dir
    page = UploadFormPage(
        frame=frame_for(index, "upload"),
        action=URLS.uploads(index.slug),
        max_bytes=settings.max_upload_bytes,
        max_pixels=settings.max_upload_pixels,
        ttl_hours=settings.upload_ttl_hours,
        why_absent=site.worker.why_absent(index_dir),
        ready=site.worker.is_loaded(index_dir),
    )
    return render(request, page)


@router.post("/{index}/uploads", name="upload")
async def upload(request: Request, site: SiteDep, index: IndexDep) -> Response:
    """Browsers' forms say that they accept HTML and are sent on to the result; scripts get JSON."""
    kept = await take_in(request, site, index)
    if "text/html" in request.headers.get("accept", ""):
        url = URLS.upload(index.slug, kept.upload.upload_id)
        answer: Response = RedirectResponse(url, status_code=303, headers=PRIVATE)
    else:
        answer = created(kept, site.json_urls)
    remember(answer, request, kept)
    return answer


@router.get("/{index}/uploads/{upload_id}.webp", name="upload_picture")
def picture(site: SiteDep, index: IndexDep, upload_id: str) -> Response:
    content = site.uploads.picture(index.slug, upload_id)
    return Response(content, media_type="image/webp", headers=PRIVATE)


@router.get("/{index}/uploads/{upload_id}", name="upload_result")
def result(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    upload_id: str,
    layer: LayerQuery = None,
    token: TokenQuery = None,
) -> HTMLResponse:
    found = site.uploads.get(index.slug, upload_id)
    return render(request, _page(request, index, found, layer, token), headers=PRIVATE)


@router.post("/{index}/uploads/{upload_id}/delete", name="upload_delete")
def delete(request: Request, site: SiteDep, index: IndexDep, upload_id: str) -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    site.uploads.delete(index.slug, upload_id, request.cookies.get(COOKIE, ""))
    url = URLS.upload(index.slug, upload_id)
    answer = RedirectResponse(url, status_code=303, headers=PRIVATE)
    answer.delete_cookie(COOKIE, path=url)
    return answer


def _page(
    request: Request, index: OpenIndex, found: Upload, layer: str | None, token: str | None
) -> UploadPage:
    what = shown(index, layer, token)
    url = partial(URLS.upload, index.slug, found.upload_id)
    mine = may_delete(found, request.cookies.get(COOKIE, ""))
    return UploadPage(
        frame=picture_frame(index, "your image", what, url),
        picture=upload_picture(index, found.upload_id),
        expires_s=found.expires_s,
        delete_url=URLS.delete_upload(index.slug, found.upload_id) if mine else None,
        slots=slots_of_picture(index, found.codes, what, picture_link(url)),
        all_layers=url(token=what.token) if what.layer is not None else None,
        another=URLS.uploads(index.slug),
        outdated=found.version != index.version,
    )


def upload_picture(index: OpenIndex, upload_id: str, url: str | None = None) -> PictureView:
    return PictureView(
        src=URLS.upload_picture(index.slug, upload_id),
        alt="the uploaded picture, cut to the square that the model sees",
        url=url,
        unsafe=False,
        size_px=index.manifest.model.image_px,
    )


def remember(answer: Response, request: Request, kept: Kept) -> None:
    """The key goes to the browser alone, for this one upload, and no script can read it."""
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
