"""`.../report`: reports an image to the operator."""

import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request

from app.formatting import moment, safe_link
from app.moderation.reports import MAX_WORDS, REASONS, UploadReport, VisitorReport, short_id
from app.pages.cards import ImageView
from app.pages.image.header import image_ref_view
from app.pages.layout import Link, frame_for
from app.pages.render import Page, base_url_of, render
from app.params.dependencies import IndexDep, SiteDep
from app.services.images import ImageDep, ImageRef
from app.state import OpenIndex
from app.urls import Urls
from app.web.client_address import client_of
from app.web.errors import listed, unprocessable
from app.web.security import refuse_cross_site

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ReportPage(Page):
    template = "report.html"

    image: ImageView
    image_page: Link
    source: str | None  # where it came from, http or https
    action: str
    reasons: dict[str, str]  # value and words
    max_words: int  # characters
    done: bool  # it was reported just now


@router.get("/{index}/{kind}/{image_id}/report", name="report")
def report_form(
    request: Request, site: SiteDep, index: IndexDep, image: ImageDep, done: bool = False
) -> Response:
    """The report form, or a redirect to the operator's own address."""
    template = site.settings.report_to
    if template:
        page_url = Urls(base_url_of(request)).image_part(index.slug, image.address.image)
        return RedirectResponse(address(template, index.slug, _number(image), page_url), 302, NO_STORE)
    return render(request, _page(index, image, done), headers=NO_STORE)


@router.post("/{index}/{kind}/{image_id}/report", name="report_send")
def report_send(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    reason: Annotated[str, Form()] = "other",
    words: Annotated[str, Form()] = "",
) -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    if reason not in REASONS:
        raise unprocessable("reason", reason, listed(list(REASONS)))
    if len(words) > MAX_WORDS:
        raise unprocessable("words", words, f"at most {MAX_WORDS} characters")
    site.reports.refuse_too_many(client_of(request))
    site.reports.add(_report(index, image, reason, words))
    return RedirectResponse(image.address.url("report", done="true"), 303, NO_STORE)


def _report(index: OpenIndex, image: ImageRef, reason: str, words: str) -> VisitorReport | UploadReport:
    created, row, upload = moment(time.time()), image.row, image.upload
    if row is not None:
        return VisitorReport(
            created=created,
            index=index.slug,
            image_id=row.image_id,
            key=row.key,
            sha256=index.reader.sha256(row.image_id),
            source_url=safe_link(row.source_url),
            reason=reason,
            words=words,
        )
    assert upload is not None, "it is an upload"
    return UploadReport(
        created=created,
        index=index.slug,
        upload=short_id(upload.upload_id),
        sha256=upload.sha256 or upload.crop_sha256,
        crop_sha256=upload.crop_sha256,
        reason=reason,
        words=words,
    )


def address(template: str, slug: str, number: int | str, page_url: str) -> str:
    """Fills index, image and page into the operator's own address."""
    given = {"{index}": slug, "{image_id}": str(number), "{url}": page_url}
    for name, value in given.items():
        template = template.replace(name, quote(value, safe=""))
    return template


def _number(image: ImageRef) -> int | str:
    """Returns the image's number; for an upload, the start of its id."""
    image_id = image.address.image
    return image_id if isinstance(image_id, int) else short_id(image_id)


def _page(index: OpenIndex, image: ImageRef, done: bool) -> ReportPage:
    name = "this upload" if image.row is None else image.address.name
    return ReportPage(
        frame=frame_for(index, f"report {name}"),
        image=image_ref_view(index, image),
        image_page=Link(name, image.address.url()),
        source=safe_link(image.row.source_url) if image.row else None,
        action=image.address.url("report"),
        reasons=REASONS,
        max_words=MAX_WORDS,
        done=done,
    )
