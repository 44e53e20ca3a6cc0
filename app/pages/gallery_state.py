"""The state of a gallery, which is its URL: order, filters, pages, and whether the scatter is open. Pure."""

from dataclasses import dataclass, field, replace
from typing import Any

from app.params.common import PAGE_SIZE
from app.params.filters import Filters
from app.state import OpenIndex
from app.urls import URLS
from app.web.errors import unprocessable
from scopeview.slots import Layer, Slot, Token
from scopeview.store.records import Sort

MAX_PAGES = 10
"""Pages that are shown as one, at most: what scrolling adds to a page before it asks to go on to the next."""


@dataclass(frozen=True)
class GalleryState:
    """Defaults are left out of URLs."""

    sort: Sort = "feature"
    filters: Filters = field(default_factory=Filters)
    seed: int = 0  # of the random order
    page: int = 1  # the last page shown
    first: int = 1  # the first page shown; the same one unless pages were added by scrolling
    plot: bool = False  # the scatter plot is open

    def url(self, index: OpenIndex, layer: Layer, token: Token | None) -> str:
        """Of the page in this state; with no token the layer's first."""
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
        """The same features as JSON."""
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
    """Raises a 422 naming the pages that a page can be shown with."""
    lowest = max(page - MAX_PAGES + 1, 1)
    if first is None:
        return page
    if not lowest <= first <= page:
        raise unprocessable("first", first, f"{lowest} to {page} with page={page}")
    return first
