"""The state of a gallery, which is its URL, and its message when no feature matches. Pure."""

from dataclasses import dataclass, field, replace
from typing import Any

from app.formatting import count
from app.pages.layout import Link, slot_name
from app.params.dependencies import PAGE_SIZE
from app.params.filters import Filters
from app.state import OpenIndex
from app.urls import URLS
from app.web.errors import unprocessable
from scopeview.slots import Layer, Slot, Token
from scopeview.store.records import Sort

MAX_PAGES = 10
"""The most pages shown as one: scrolling adds that many before it asks to go on to the next."""


@dataclass(frozen=True)
class GalleryState:
    """The state of a gallery; URLs leave out defaults."""

    sort: Sort = "feature"
    filters: Filters = field(default_factory=Filters)
    seed: int = 0  # of the random order
    page: int = 1  # the last page shown
    first: int = 1  # the first page shown; the same one unless pages were added by scrolling
    plot: bool = False  # the scatter plot is open

    def url(self, index: OpenIndex, layer: Layer, token: Token | None) -> str:
        """Returns the URL of this state; without a token, at the layer's first."""
        return URLS.gallery(index.slug, layer, token=token, **self.query())

    def query(self) -> dict[str, Any]:
        return {
            "sort": self.sort if self.sort != "feature" else None,
            **self.filters.query(),
            "seed": self.seed if self.sort == "random" else None,
            "page": self.page if self.page > 1 else None,
            "first": self.first if self.first < self.page else None,
            "plot": 1 if self.plot else None,
        }

    def json_url(self, index: OpenIndex, slot: Slot) -> str:
        """Returns the URL of the same features as JSON."""
        order = {"sort": self.sort, "seed": self.seed}
        filters = {**self.filters.query(), "min_images": self.filters.min_images}
        page = {"limit": self.limit, "offset": self.offset}
        return URLS.gallery(index.slug, slot.layer, api=True, token=slot.token, **order, **filters, **page)

    def on(self, page: int, first: int | None = None) -> "GalleryState":
        return replace(self, page=page, first=page if first is None else first)

    @property
    def limit(self) -> int:
        return (self.page - self.first + 1) * PAGE_SIZE

    @property
    def offset(self) -> int:
        return (self.first - 1) * PAGE_SIZE


def first_page(first: int | None, page: int) -> int:
    """Returns the first of the pages shown as one. Raises a 422 that names the possible ones."""
    lowest = max(page - MAX_PAGES + 1, 1)
    if first is None:
        return page
    if not lowest <= first <= page:
        raise unprocessable("first", first, f"{lowest} to {page} with page={page}")
    return first


@dataclass(frozen=True)
class EmptyGallery:
    """Why there is no card, and what to do about it."""

    words: str
    way: Link | None


def empty_gallery(index: OpenIndex, slot: Slot, state: GalleryState) -> EmptyGallery:
    summary = index.summaries[slot]
    at = slot_name(slot)
    if missing := _missing(index, state.filters):
        return EmptyGallery(missing, Link("show all features", unfiltered(index, slot, state) or ""))
    if not summary.n_live:
        return EmptyGallery(
            f"No feature fires at {at} on the indexed images. Choose another token or layer above.", None
        )
    if state.filters == Filters():
        all_live = replace(state.on(1), filters=Filters(min_images=1)).url(index, slot.layer, slot.token)
        words = f"No feature fires on nine images or more at {at}."
        return EmptyGallery(
            words, Link(f"show the {count(summary.n_live)} that fire on fewer images", all_live)
        )
    return EmptyGallery(
        "No feature matches these filters.", Link("clear filters", unfiltered(index, slot, state) or "")
    )


def _missing(index: OpenIndex, filters: Filters) -> str | None:
    """Names in a sentence the descriptions that the filters need and this index lacks, else None."""
    describe = index.manifest.describe
    if filters.ask_for_descriptions and describe is None:
        return "Names and clarity were not computed for this index."
    if filters.name is not None and describe is not None and describe.vocabulary is None:
        return f"Features of this index have no names: {describe.without_names}."
    return None


def unfiltered(index: OpenIndex, slot: Slot, state: GalleryState) -> str | None:
    if state.filters == Filters():
        return None
    return replace(state.on(1), filters=Filters()).url(index, slot.layer, slot.token)
