"""`/{index}/images/{image_id}/report`: tells the operator that a picture should not be shown."""

import time
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request

from app.clients import client_of
from app.formatting import moment, safe_link
from app.pages.frame import URLS, Link, frame_for
from app.pages.parts import PictureView, picture_of
from app.pages.render import Page, base_url_of, render
from app.params import ImagePath, IndexDep, SiteDep
from app.problems import listed, unprocessable
from app.reports import MAX_WORDS, REASONS, Report
from app.security import refuse_cross_site
from app.site import OpenIndex
from app.urls import Urls

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ReportPage(Page):
    template = "report.html"

    picture: PictureView
    image: Link  # its page
    source: str | None  # where it came from, http or https
    action: str
    reasons: dict[str, str]  # value and words
    max_words: int  # characters
    done: bool  # it was reported just now


@router.get("/{index}/images/{image_id}/report", name="report")
def report_form(
    request: Request, site: SiteDep, index: IndexDep, image_id: ImagePath, done: bool = False
) -> Response:
    """Where the operator has an address of their own for it, on to that."""
    index.reader.image(image_id)  # a 404 or 410 for what is not there
    template = site.settings.report_to
    if template:
        page_url = Urls(base_url_of(request)).image(index.slug, image_id)
        return RedirectResponse(address(template, index.slug, image_id, page_url), 302, NO_STORE)
    return render(request, _page(index, image_id, done), headers=NO_STORE)


@router.post("/{index}/images/{image_id}/report", name="report_send")
def report_send(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image_id: ImagePath,
    reason: Annotated[str, Form()] = "other",
    words: Annotated[str, Form()] = "",
) -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    if reason not in REASONS:
        raise unprocessable("reason", reason, listed(list(REASONS)))
    if len(words) > MAX_WORDS:
        raise unprocessable("words", words, f"at most {MAX_WORDS} characters")
    row = index.reader.image(image_id).row
    site.reports.refuse_too_many(client_of(request))
    report = Report(
        created=moment(time.time()),
        index=index.slug,
        image_id=image_id,
        key=row.key,
        sha256=index.reader.sha256(image_id),
        source_url=safe_link(row.source_url),
        reason=reason,
        words=words,
    )
    site.reports.add(report)
    return RedirectResponse(f"{URLS.report(index.slug, image_id)}?done=true", 303, NO_STORE)


def address(template: str, slug: str, image_id: int, page_url: str) -> str:
    """The operator's own address, with what it names put in."""
    given = {"{index}": slug, "{image_id}": str(image_id), "{url}": page_url}
    for name, value in given.items():
        template = template.replace(name, quote(value, safe=""))
    return template


def _page(index: OpenIndex, image_id: int, done: bool) -> ReportPage:
    row = index.reader.image_rows([image_id])[image_id]
    return ReportPage(
        frame=frame_for(index, f"report image {image_id}"),
        picture=picture_of(index, row),
        image=Link(f"image {image_id}", URLS.image(index.slug, image_id)),
        source=safe_link(row.source_url),
        action=URLS.report(index.slug, image_id),
        reasons=REASONS,
        max_words=MAX_WORDS,
        done=done,
    )
