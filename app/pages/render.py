"""Renders a page, or the one block of it that an htmx request asks for.

A block is named after the id of the element it replaces, which htmx sends as `HX-Target`. A plain GET, a
boosted one and a history restore always get the whole page.
"""

import functools
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar
from urllib.parse import urljoin

import jinja2
from fastapi.responses import HTMLResponse
from jinja2_fragments import render_block
from starlette.requests import Request

from app import formatting
from app.assets import TEMPLATES_DIR, static_assets
from app.pages import macros, numbers
from app.pages.layout import Frame
from app.params.dependencies import site_of
from app.urls import PATH_PREFIX, URLS
from app.web.caching import FOR_EVERYONE

VARY = "HX-Request, HX-Target, HX-Boosted, HX-History-Restore-Request"


@dataclass(frozen=True)
class Page:
    """The context of a page's template: exactly the fields of its subclass."""

    template: ClassVar[str]
    blocks: ClassVar[frozenset[str]] = frozenset()  # that htmx may ask for alone
    always: ClassVar[str | None] = None  # the block that answers htmx whatever it asks for
    for_everyone: ClassVar[bool] = False  # nothing on it depends on who asks, so one copy does for all

    frame: Frame  # what is around the page


@functools.cache
def environment() -> jinja2.Environment:
    """Returns the template environment, one per process: autoescaped, and an undeclared name is an error."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES_DIR),
        autoescape=True,
        auto_reload=False,  # else every page looks for changes of two dozen files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(
        fmt=formatting, figures=numbers, components=macros, urls=URLS, asset=static_assets().url
    )
    # A block that is rendered alone does not run its template's imports, so the components are a global.
    env.globals["parts"] = env.get_template("parts.html").module
    return env


def load_templates() -> None:
    """Compiles every template ahead."""
    env = environment()
    for name in env.list_templates():
        env.get_template(name)


def render(
    request: Request, page: Page, *, status: int = 200, headers: dict[str, str] | None = None
) -> HTMLResponse:
    env = environment()
    block = wanted_block(request, page)
    if block is None:
        html = env.get_template(page.template).render(context_of(_seen_from_outside(request, page)))
    else:
        html = render_block(env, page.template, block, context_of(page))
    cache_headers = FOR_EVERYONE if page.for_everyone else "no-cache"
    return HTMLResponse(html, status, {"Cache-Control": cache_headers, **(headers or {}), "Vary": VARY})


def wanted_block(request: Request, page: Page | type[Page]) -> str | None:
    """Returns the block that the request asks for; None for the whole page."""
    headers = request.headers
    if headers.get("hx-request") != "true":
        return None
    if headers.get("hx-boosted") == "true" or headers.get("hx-history-restore-request") == "true":
        return None
    target = headers.get("hx-target", "")
    return target if target in page.blocks else page.always


def base_url_of(request: Request) -> str:
    """Returns scheme, host and path prefix of this site, without a slash at the end.

    They are those that the operator set, else those of the request.
    """
    url = request.url
    return site_of(request).settings.base_url or f"{url.scheme}://{url.netloc}{PATH_PREFIX.get()}"


def _seen_from_outside(request: Request, page: Page) -> Page:
    """Makes the URLs of the preview absolute, since other sites read them."""
    preview = page.frame.preview
    if preview is None:
        return page
    base = base_url_of(request)
    whole = replace(preview, url=urljoin(base, preview.url), image=urljoin(base, preview.image))
    return replace(page, frame=replace(page.frame, preview=whole))


def context_of(page: Page) -> dict[str, Any]:
    return {field.name: getattr(page, field.name) for field in fields(page)}
