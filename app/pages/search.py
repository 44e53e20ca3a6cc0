"""`/{index}/search`: features and images by words, number, name or image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import short
from app.pages.cards import FeatureView, ImageView, feature_views, image_view
from app.pages.image.header import upload_image_view
from app.pages.image.overview import overview_page_frame
from app.pages.layout import Frame, Link, SearchBox, slot_name
from app.pages.render import Page, render
from app.pages.uploads import remember
from app.params.dependencies import IndexDep, SiteDep
from app.params.search_params import SearchQuery, SearchQueryDep, TextQuery
from app.params.view_params import SlotFilter
from app.services.receive_upload import created_response, receive_upload
from app.services.retrieval import FoundFeature, FoundImage, SearchResults
from app.services.search import run_search, target_of
from app.state import AppState, OpenIndex
from app.urls import URLS
from app.web.caching import PRIVATE
from scopeview.slots import Slot

N_EXAMPLES = 8

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class FoundView:
    """A matching feature, with its score."""

    feature: FeatureView
    score: float | None  # a cosine, of the query or of `word`
    word: str | None  # the name that it was found by; None where it was found otherwise


@dataclass(frozen=True)
class FoundImageView:
    """A matching image, with its score."""

    image: ImageView
    caption: str | None
    score: float  # a cosine


@dataclass(frozen=True)
class SearchPage(Page):
    template = "search.html"

    text: str  # what was asked in words; empty where an image was
    image: ImageView | None  # the image that was asked with
    asked: bool  # False: nothing yet
    where: str  # which layers and token were searched, in words
    everywhere: Link | None  # the same in all layers, where one alone was searched
    numbered: list[FoundView]
    named: list[FoundView]
    features: list[FoundView]
    also_named: list[FoundView]
    images: list[FoundImageView]
    why_not: str | None  # why nothing was looked for in CLIP's space
    unknown_words: Sequence[str]  # that the model does not know, where others count
    is_weak: bool  # nothing matches the words well
    examples: list[Link]  # words to begin with, where nothing was asked
    action: str  # where the form with an image goes
    no_image_search: str | None  # why there is none


@dataclass(frozen=True)
class WhichIndexPage(Page):
    template = "search_where.html"

    text: str
    indexes: list[Link]  # the same search in each


@router.get("/search", name="search_anywhere")
def search_anywhere(request: Request, site: SiteDep, q: TextQuery = "") -> Response:
    """Searches from a page without an index: redirects to the only index, or offers a choice."""
    urls = {slug: URLS.search(slug, q=q or None) for slug in site.indexes}
    if len(urls) == 1:
        return RedirectResponse(next(iter(urls.values())), status_code=302)
    frame = Frame("search", search=SearchBox(URLS.search_anywhere(), q))
    return render(request, WhichIndexPage(frame, q, [Link(slug, url) for slug, url in urls.items()]))


@router.get("/{index}/search", name="search")
async def search(request: Request, site: SiteDep, index: IndexDep, query: SearchQueryDep) -> Response:
    """Shows the results; a number that means one feature redirects there at once."""
    target = await run_in_threadpool(target_of, index, query)
    if target is not None:
        url = URLS.feature(index.slug, target.slot.layer, target.feature, target.slot.token)
        return RedirectResponse(url, status_code=302)
    found = await run_search(site, index, query, request.app.state.decode_limiter)
    page = await run_in_threadpool(_page, site, index, query, found)
    headers = PRIVATE if query.upload_id else None
    return await run_in_threadpool(render, request, page, headers=headers)


@router.post("/{index}/search", name="search_by_image")
async def search_by_image(request: Request, site: SiteDep, index: IndexDep) -> Response:
    """Keeps the image as an upload, with expiry and delete key; redirects to a page with its own link."""
    kept = await receive_upload(request, site, index)
    if "text/html" in request.headers.get("accept", ""):
        url = URLS.search(index.slug, upload=kept.upload.upload_id)
        answer: Response = RedirectResponse(url, status_code=303, headers=PRIVATE)
    else:
        answer = created_response(kept, site.json_urls)
    remember(answer, request, kept)
    return answer


def _page(site: AppState, index: OpenIndex, query: SearchQuery, found: SearchResults) -> SearchPage:
    slots = index.slots_at(query.token, query.layer)
    url = partial(URLS.search, index.slug, **_state(query))
    return SearchPage(
        frame=_frame(index, query, url),
        text=query.text,
        image=_image(index, query),
        asked=not query.is_empty,
        where=_where(query, slots),
        everywhere=None if query.layer is None else Link("all layers", url(token=query.token)),
        numbered=_found(index, found.numbered),
        named=_found(index, found.named),
        features=_found(index, found.features),
        also_named=_found(index, found.also_named),
        images=[_found_image(index, each) for each in found.images],
        why_not=found.why_not,
        unknown_words=found.unknown_words,
        is_weak=found.is_weak,
        examples=_examples(index, slots) if query.is_empty else [],
        action=URLS.search(index.slug),
        no_image_search=site.worker.unavailable_reason(index.reader.index_dir),
    )


def _state(query: SearchQuery) -> dict[str, Any]:
    return {"q": query.text or None, "image": query.image_id, "upload": query.upload_id}


def _frame(index: OpenIndex, query: SearchQuery, url: "partial[str]") -> Frame:
    """Builds the frame; its search box holds the words, and stays in the layer that was searched."""
    frame = overview_page_frame(index, query.text or "search", SlotFilter(query.layer, query.token), url)
    hidden = {"token": query.token} | ({} if query.layer is None else {"layer": str(query.layer)})
    return replace(frame, search=replace(frame.search, value=query.text, hidden=hidden))


def _where(query: SearchQuery, slots: list[Slot]) -> str:
    return "all layers" if query.layer is None and len(slots) > 1 else slot_name(slots[0])


def _image(index: OpenIndex, query: SearchQuery) -> ImageView | None:
    if query.image_id is not None:
        rows = index.reader.image_rows([query.image_id])
        return image_view(index, rows[query.image_id])
    if query.upload_id is not None:
        return upload_image_view(index, query.upload_id)
    return None


def _found(index: OpenIndex, found: list[FoundFeature]) -> list[FoundView]:
    views = feature_views(index, [each.card for each in found])
    return [FoundView(view, each.score, each.word) for view, each in zip(views, found, strict=True)]


def _found_image(index: OpenIndex, found: FoundImage) -> FoundImageView:
    return FoundImageView(image_view(index, found.row), short(found.row.caption) or None, found.score)


def _examples(index: OpenIndex, slots: list[Slot]) -> list[Link]:
    """Returns links to the best-scored names of the deepest layer: words that are sure to find something."""
    cards = index.reader.gallery(slots[-1], sort="score", limit=3 * N_EXAMPLES).cards
    words = list(dict.fromkeys(card.name for card in cards if card.name))[:N_EXAMPLES]
    return [Link(word, URLS.search(index.slug, q=word)) for word in words]
