"""`.../activations`: which features are active where in an image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name
from app.pages.image import approximate
from app.pages.image.active_features import ActiveView, active_views
from app.pages.image.header import HeaderView, header_view, image_frame
from app.pages.image.patch_grid import TOKENS, GridView, HeatmapView, outline, patch_links
from app.pages.image.reconstruction import ExplainedView, explained_view
from app.pages.image.selected_feature import SelectedFeatureView, selected_feature
from app.pages.image.view_state import TOP, ViewState, selection_words
from app.pages.layout import Frame, Link
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, Number, SiteDep
from app.params.view_params import (
    LayerQuery,
    LeastQuery,
    OrderQuery,
    TokensQuery,
    TopQuery,
    deep_layer,
    known_features,
    known_order,
    known_selection,
)
from app.services.decomposition import layer_of
from app.services.feature_cards import described_slot, read_cards
from app.services.images import ImageDep, ImageRef
from app.state import AppState, OpenIndex
from app.web.caching import FOR_EVERYONE, PRIVATE
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.token_selection import ORDERS, summarize
from scopeview.slots import ANY, CLS, EMBED

TOPS = (12, TOP, 48, 100)
ChosenQuery = Annotated[Number | None, Query(description="the feature whose heatmap is shown")]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ActivationsPage(Page):
    template = "image/activations.html"

    header: HeaderView
    grid: GridView
    heading: str  # `L6 at patch (8, 8)`
    n_active: int  # features that fire there, listed or not
    explained: ExplainedView
    chosen: SelectedFeatureView | None
    features: list[ActiveView]
    others: list[ActiveView]  # weaker ones of an indexed image, whose activations are approximate
    note: str | None  # which values are approximate
    action: str  # where the form goes
    hidden: dict[str, Any]  # what the form keeps
    orders: list[Link]  # the label is for people, the title the query value
    tops: list[Link]
    least: float
    slot_words: str  # whose grids and histograms these are
    more: str | None  # more of the list; None where all are listed


@router.get("/{index}/{kind}/{image_id}/activations", name="activations")
async def activations(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
    feature: ChosenQuery = None,
    order: OrderQuery = "activation",
    top: TopQuery = TOP,
    least: LeastQuery = 0.0,
) -> Response:
    at = deep_layer(index, layer)
    chosen = None if feature is None else known_features(index, at, str(feature))[0]
    selection = known_selection(index, at, tokens)
    view = ViewState(image.address, at, selection, chosen, known_order(order), top, least)
    if tokens != selection.text:
        return RedirectResponse(view.url(), 302)  # one view has one address
    decoding, known = request.app.state.decode_limiter, () if chosen is None else (chosen,)
    found = await layer_of(site, index, image, at, decoding, known)
    return await run_in_threadpool(_answer, request, site, index, image, view, found)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    view: ViewState,
    found: LayerDecomposition,
) -> Response:
    return render(request, _page(request, site, index, image, view, found), headers=cache_headers(image))


def cache_headers(image: ImageRef) -> dict[str, str]:
    """Returns the cache headers: an indexed image looks the same to everyone, an upload is private."""
    return PRIVATE if image.upload else {"Cache-Control": FOR_EVERYONE}


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    view: ViewState,
    found: LayerDecomposition,
) -> ActivationsPage:
    size = grid_size(index, view)
    here = summarize(found, view.selection, order=view.order, least=view.least, top=view.top)
    slot = described_slot(index, view.layer, view.selection)
    listed = [active.feature for active in here.features]
    cards = read_cards(index, slot, listed if view.feature is None else [*listed, view.feature])
    chosen = selected_feature(index, view, cards, found, size)
    where = selection_words(view.selection, view.layer, index.manifest.model.grid_size)
    query = view.query()
    views = active_views(index, view, cards, here, found)
    n_first = sum(active.feature in cards.cards for active in here.features[: here.n_stored or None])
    return ActivationsPage(
        frame=_frame(index, view),
        header=header_view(
            request,
            site,
            index,
            image,
            "activations",
            layer=view.layer,
            tokens=view.selection.text,
        ),
        grid=grid_view(index, view, chosen.heat if chosen else None),
        heading=f"{layer_name(view.layer)} {where}",
        n_active=here.n_active,
        explained=explained_view(found, here, size),
        chosen=chosen.view if chosen else None,
        features=views[:n_first],
        others=views[n_first:],
        note=approximate.of_features(found, view.selection.positions),
        action=image.address.url("activations"),
        hidden={name: query[name] for name in ("layer", "tokens", "feature") if query[name] is not None},
        orders=[Link(order, "", order == view.order, order) for order in ORDERS],
        tops=[Link(str(top), "", top == view.top) for top in sorted({*TOPS, view.top})],
        least=view.least,
        slot_words=slot.token,
        more=_more(view, len(here.features), here.n_active),
    )


def _frame(index: OpenIndex, view: ViewState) -> Frame:
    return image_frame(
        index,
        view.at,
        layer_name(view.layer),
        layer=view.layer,
        tokens=view.selection.text,
        link=lambda layer, token: view.at_layer(layer, token).url(),
        json_url=view.with_feature(None).url(api=True),
    )


def grid_size(index: OpenIndex, view: ViewState) -> int:
    """Returns the patches on a side; 0 if the layer has none."""
    return 0 if view.layer == EMBED else index.manifest.model.grid_size


def grid_view(
    index: OpenIndex, view: ViewState, heat: HeatmapView | None, to: Callable[[str], str] | None = None
) -> GridView:
    """Builds the grid; `to` returns the page at other tokens, by default this decomposition."""
    size, selection = grid_size(index, view), view.selection
    to = to or (lambda tokens: view.with_tokens(tokens).url())
    url = to(TOKENS)
    switch = [
        Link("CLS", to(CLS), selection.text == CLS, "the token that summarizes the image"),
        Link("whole image", to(ANY), selection.text == ANY, "all patches and CLS"),
    ]
    return GridView(
        size=size,
        url=url,
        links=patch_links(url, size),
        outline=outline(selection.positions or (), size) if size else "",
        tokens=selection.text,
        switch=switch if size else [],
        heat=heat,
    )


def _more(view: ViewState, n_listed: int, n_active: int) -> str | None:
    bigger = next((top for top in (*TOPS, 2000) if top > view.top), None)
    if n_listed < view.top or n_listed >= n_active or bigger is None:
        return None
    return ViewState(view.at, view.layer, view.selection, view.feature, view.order, bigger, view.least).url()
