"""`/{index}/{layer}`: the features of one slot as cards, sorted, filtered and paged by the query string."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.pages.frame import URLS, Link, frame_for, slot_name
from app.pages.paging import Paging, paged
from app.pages.parts import FeatureView, feature_views
from app.pages.render import Page, render
from app.params import (
    PAGE_SIZE,
    IndexDep,
    MinImagesQuery,
    PageQuery,
    SeedQuery,
    SlotDep,
    SortQuery,
    known_sort,
)
from app.site import OpenIndex
from scopeview.slots import Layer, Slot, Token
from scopeview.store.records import MIN_GRID_IMAGES, SlotSummary, Sort

SORT_WORDS: dict[Sort, str] = {
    "feature": "number",
    "density": "most images",
    "max": "highest activation",
    "random": "random",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class GalleryPage(Page):
    template = "gallery.html"
    blocks = frozenset({"more"})

    name: str  # `L22 · CLS`
    action: str  # where the form of filters goes
    token: str  # of the slot, for the form
    summary: SlotSummary  # live and active features of the slot
    n_images: int  # in the index
    n_matching: int  # features that pass the filter
    sort: str  # the order in use
    sorts: list[Link]  # every order; the label is for people, the title the query value
    seed: int  # of the random order
    min_images: int  # the filter in use
    features: list[FeatureView]  # of this page
    paging: Paging
    reshuffle: str  # the random order with another seed


@dataclass(frozen=True)
class _Query:
    """The state of a gallery, as its URL holds it. Defaults are left out of URLs."""

    token: Token
    sort: Sort
    min_images: int
    seed: int

    def url(
        self, index: OpenIndex, layer: Layer, *, token: Token | None, page: int = 1, **changed: object
    ) -> str:
        state: dict[str, object] = {
            "sort": self.sort if self.sort != "feature" else None,
            "min_images": self.min_images if self.min_images != MIN_GRID_IMAGES else None,
            "seed": self.seed if self.sort == "random" else None,
            "page": page if page > 1 else None,
        }
        query: dict[str, Any] = {**state, **changed}
        return URLS.gallery(index.slug, layer, token=token, **query)


@router.get("/{index}/{layer}", name="gallery")
def gallery(
    request: Request,
    index: IndexDep,
    slot: SlotDep,
    sort: SortQuery = "feature",
    min_images: MinImagesQuery = MIN_GRID_IMAGES,
    seed: SeedQuery = 0,
    page: PageQuery = 1,
) -> HTMLResponse:
    query = _Query(slot.token, known_sort(sort), min_images, seed)
    return render(request, _page(index, slot, query, page))


def _page(index: OpenIndex, slot: Slot, query: _Query, page: int) -> GalleryPage:
    found = index.reader.gallery(
        slot,
        sort=query.sort,
        min_images=query.min_images,
        seed=query.seed,
        limit=PAGE_SIZE,
        offset=(page - 1) * PAGE_SIZE,
    )
    paging = paged(
        page, found.n_matching, PAGE_SIZE, lambda at: query.url(index, slot.layer, token=slot.token, page=at)
    )
    frame = frame_for(
        index,
        slot_name(slot),
        layer=slot.layer,
        token=slot.token,
        link=lambda layer, token: query.url(index, layer, token=token),
        json_url=_json_url(index, slot, query, page),
    )
    return GalleryPage(
        frame=frame,
        name=slot_name(slot),
        action=URLS.gallery(index.slug, slot.layer),
        token=slot.token,
        summary=index.summaries[slot],
        n_images=index.manifest.n_images,
        n_matching=found.n_matching,
        sort=query.sort,
        sorts=[Link(words, "", sort == query.sort, sort) for sort, words in SORT_WORDS.items()],
        seed=query.seed,
        min_images=query.min_images,
        features=feature_views(index, found.cards),
        paging=paging,
        reshuffle=query.url(index, slot.layer, token=slot.token, sort="random", seed=query.seed + 1),
    )


def _json_url(index: OpenIndex, slot: Slot, query: _Query, page: int) -> str:
    state = {"sort": query.sort, "min_images": query.min_images, "seed": query.seed}
    offset = {"limit": PAGE_SIZE, "offset": (page - 1) * PAGE_SIZE}
    return URLS.gallery(index.slug, slot.layer, api=True, token=slot.token, **state, **offset)
