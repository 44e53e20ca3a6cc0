"""`/{index}/{layer}`: the features of one slot as cards, sorted, filtered and paged by the query string."""

from dataclasses import dataclass, replace

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from starlette.requests import Request

from app.pages.cards import FeatureView, feature_views
from app.pages.densities import DensityBar, density_bars
from app.pages.gallery_state import (
    MAX_PAGES,
    EmptyGallery,
    GalleryState,
    empty_gallery,
    first_page,
    unfiltered,
)
from app.pages.layout import Link, frame_for, slot_name
from app.pages.paging import Paging, paged
from app.pages.plots import PlotView, plot_view
from app.pages.render import Page, render, wanted_block
from app.params.dependencies import (
    PAGE_SIZE,
    FirstQuery,
    IndexDep,
    PageQuery,
    PlotQuery,
    SeedQuery,
    SlotDep,
    SortQuery,
    known_sort,
)
from app.params.filters import Filters, FiltersDep
from app.services.highlights import densities
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import ANY, Slot
from scopeview.store.records import SlotSummary, Sort

SORT_WORDS: dict[Sort, str] = {
    "feature": "number",
    "density": "most images",
    "max": "highest activation",
    "clarity": "clarity",
    "score": "name score",
    "selectivity": "position selectivity",
    "random": "random",
}
_OF_DESCRIPTIONS: frozenset[Sort] = frozenset({"clarity", "score", "selectivity"})

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class GalleryPage(Page):
    template = "gallery.html"
    for_everyone = True
    blocks = frozenset({"more"})

    name: str  # `L22 · CLS`
    action: str  # where the form of filters goes
    token: str  # of the slot, for the form
    summary: SlotSummary  # live and active features of the slot
    n_images: int  # in the index
    n_matching: int  # features that pass the filters
    sort: str  # the order in use
    sorts: list[Link]  # every order there is; the label is for people, the title the query value
    seed: int  # of the random order
    filters: Filters  # in use
    unfiltered: str | None  # the gallery without them; None where none are in use
    densities: list[DensityBar]  # of all live features of the slot; each bar leads to its features
    features: list[FeatureView]  # of these pages
    empty: EmptyGallery | None  # where no feature passes
    paging: Paging
    first: int  # the first of the pages shown as one
    more: str | None  # the next page, to be added below; None on the last and where enough are shown
    reshuffle: str  # the random order with another seed
    plot: PlotView | None  # the scatter plot, where it is open
    plot_switch: Link  # opens it, or closes it
    map: Link
    is_described: bool  # it has names, clarities and places


@router.get("/{index}/{layer}", name="gallery")
def gallery(
    request: Request,
    index: IndexDep,
    slot: SlotDep,
    filters: FiltersDep,
    sort: SortQuery = "feature",
    seed: SeedQuery = 0,
    page: PageQuery = 1,
    first: FirstQuery = None,
    plot: PlotQuery = 0,
) -> Response:
    state = GalleryState(known_sort(sort), filters, seed, page, first_page(first, page), bool(plot))
    url = state.url(index, slot.layer, slot.token)
    block = wanted_block(request, GalleryPage)
    if not _is_swap(request) and "" in request.query_params.values():
        return RedirectResponse(url, 302)  # a form sent with blanks: its page has a shorter address
    # What is added by scrolling is the last page alone; the address names all that is then shown.
    shown = state.on(page) if block == "more" else state
    moves = {"HX-Replace-Url" if block == "more" else "HX-Push-Url": url} if _is_swap(request) else None
    return render(request, _page(index, slot, shown, state), headers=moves)


def _is_swap(request: Request) -> bool:
    """True if htmx asks for a part of the page; going back asks for all of it."""
    headers = request.headers
    return headers.get("hx-request") == "true" and "hx-history-restore-request" not in headers


def _page(index: OpenIndex, slot: Slot, shown: GalleryState, state: GalleryState) -> GalleryPage:
    found = index.reader.gallery(
        slot,
        sort=state.sort,
        **state.filters.gallery_keywords(),
        seed=state.seed,
        limit=shown.limit,
        offset=shown.offset,
    )
    frame = frame_for(
        index,
        slot_name(slot),
        layer=slot.layer,
        token=slot.token,
        link=lambda layer, token: state.on(1).url(index, layer, token),
        json_url=state.json_url(index, slot),
    )
    paging = _paging(index, slot, state, found.n_matching)
    return GalleryPage(
        frame=frame,
        name=slot_name(slot),
        action=URLS.gallery(index.slug, slot.layer),
        token=slot.token,
        summary=index.summaries[slot],
        n_images=index.manifest.n_images,
        n_matching=found.n_matching,
        sort=state.sort,
        sorts=_sorts(index, state.sort),
        seed=state.seed,
        filters=state.filters,
        unfiltered=unfiltered(index, slot, state),
        densities=_densities(index, slot, state),
        features=feature_views(index, found.cards),
        empty=None if found.cards else empty_gallery(index, slot, state),
        paging=paging,
        first=state.first,
        more=_more(index, slot, state, paging),
        reshuffle=replace(state.on(1), sort="random", seed=state.seed + 1).url(index, slot.layer, slot.token),
        plot=plot_view(index, slot) if state.plot else None,
        plot_switch=_plot_switch(index, slot, state),
        map=Link(
            "map",
            URLS.map(index.slug, slot.layer, token=slot.token),
            title="similar features lie close together",
        ),
        is_described=index.reader.is_described,
    )


def _paging(index: OpenIndex, slot: Slot, state: GalleryState, n_matching: int) -> Paging:
    """Returns the links to plain pages: the one before the first shown, and the one after the last."""
    paging = paged(
        state.page, n_matching, PAGE_SIZE, lambda at: state.on(at).url(index, slot.layer, slot.token)
    )
    before = state.on(state.first - 1).url(index, slot.layer, slot.token) if state.first > 1 else None
    return replace(paging, previous=before)


def _more(index: OpenIndex, slot: Slot, state: GalleryState, paging: Paging) -> str | None:
    following = state.on(state.page + 1, state.first)
    if paging.following is None or following.page - following.first >= MAX_PAGES:
        return None
    return following.url(index, slot.layer, slot.token)


def _sorts(index: OpenIndex, used: Sort) -> list[Link]:
    """Returns the orders that this index has values for, and the one in use."""
    described = index.reader.is_described
    missing = set[Sort]() if described else set(_OF_DESCRIPTIONS)
    if ANY not in index.manifest.tokens:
        missing.add("selectivity")
    return [
        Link(words, "", sort == used, sort)
        for sort, words in SORT_WORDS.items()
        if sort == used or sort not in missing
    ]


def _densities(index: OpenIndex, slot: Slot, state: GalleryState) -> list[DensityBar]:
    def link(low: int, high: int) -> str:
        of_bar = replace(state.filters, min_images=low, max_images=high, min_density=None, max_density=None)
        return replace(state.on(1), filters=of_bar).url(index, slot.layer, slot.token)

    return density_bars(densities(index.reader, slot), index.manifest.n_images, state.filters, link)


def _plot_switch(index: OpenIndex, slot: Slot, state: GalleryState) -> Link:
    url = replace(state, plot=not state.plot).url(index, slot.layer, slot.token)
    title = "every feature with a grid as a point: density and clarity"
    return Link("close the scatter plot" if state.plot else "scatter", url, state.plot, title)
