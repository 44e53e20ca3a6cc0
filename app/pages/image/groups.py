"""`.../groups`: related features of an image, grouped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name, percent
from app.pages.image import approximate
from app.pages.image.activations import cache_headers, grid_view
from app.pages.image.group_views import N_SHOWN, GroupView, group_view
from app.pages.image.header import HeaderView, header_view, image_frame, part_link
from app.pages.image.patch_grid import GridView
from app.pages.image.view_state import ViewState, selection_words
from app.pages.layout import Link
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, Positive, SiteDep
from app.params.view_params import (
    LayerQuery,
    ThresholdQuery,
    TokensQuery,
    deep_layer,
    known_selection,
)
from app.services.decomposition import layer_of
from app.services.groups import cards_of_groups, group_features, group_names
from app.services.images import ImageDep, ImageRef
from app.state import AppState, OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.grouping import THRESHOLD, Group
from scopeview.analysis.token_selection import Selection
from scopeview.slots import ANY, Layer

THRESHOLDS = (0.02, 0.03, THRESHOLD, 0.1, 0.2)
GroupQuery = Annotated[Positive | None, Query(description="the group whose heatmap is shown")]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class GroupsPage(Page):
    template = "image/groups.html"

    header: HeaderView
    grid: GridView
    heading: str  # `L6 at patch (8, 8)`
    n_features: int  # that fire there
    is_about: bool  # whether that number is approximate
    note: str | None  # which values are approximate
    groups: list[GroupView]  # largest first
    thresholds: list[Link]  # the share that every group holds


@dataclass(frozen=True)
class _State:
    """The query of the page."""

    layer: Layer
    selection: Selection
    threshold: float = THRESHOLD
    group: int | None = None

    def query(self, **changed: Any) -> dict[str, Any]:
        now = {"threshold": self.threshold, "group": self.group, **changed}
        threshold = None if now["threshold"] == THRESHOLD else f"{now['threshold']:g}"
        place: dict[str, Any] = {"layer": self.layer, "tokens": self.selection.text}
        return {**place, **now, "threshold": threshold}


@router.get("/{index}/{kind}/{image_id}/groups", name="image_groups")
async def groups_page(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
    threshold: ThresholdQuery = THRESHOLD,
    group: GroupQuery = None,
) -> Response:
    at = deep_layer(index, layer)
    state = _State(at, known_selection(index, at, tokens), threshold, group)
    if tokens != state.selection.text:
        return RedirectResponse(image.address.url("groups", **state.query()), 302)
    found = await layer_of(site, index, image, at, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, image, state, found)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    state: _State,
    found: LayerDecomposition,
) -> Response:
    return render(request, _page(request, site, index, image, state, found), headers=cache_headers(image))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    state: _State,
    found: LayerDecomposition,
) -> GroupsPage:
    at, selection = image.address, state.selection
    encoder = site.worker.encoder(index.reader.index_dir)
    groups = group_features(encoder, state.layer, found, selection, state.threshold)
    views = _views(index, image, state, found, groups)
    chosen = next((each for each in views if each.number == state.group), None)
    view = ViewState(at, state.layer, selection)
    where = selection_words(selection, state.layer, index.manifest.model.grid_size)
    place: dict[str, Any] = {"layer": state.layer, "tokens": selection.text}
    threshold = state.query()["threshold"]
    return GroupsPage(
        frame=image_frame(
            index,
            at,
            f"groups of {layer_name(state.layer)}",
            layer=state.layer,
            tokens=selection.text,
            link=part_link(at, "groups", selection.text, threshold=threshold),
            json_url=at.url("groups", api=True, **place, threshold=threshold),
        ),
        header=header_view(request, site, index, image, "groups", layer=state.layer, tokens=selection.text),
        grid=grid_view(
            index,
            view,
            chosen.heat if chosen else None,
            to=lambda tokens: at.url("groups", **{**place, "tokens": tokens}, threshold=threshold),
        ),
        heading=f"{layer_name(state.layer)} {where}",
        n_features=sum(len(group.features) for group in groups),
        is_about=not found.is_exact_at(selection.positions),
        note=approximate.of_groups(found, selection.positions),
        groups=views,
        thresholds=[_threshold(image, state, each) for each in sorted({*THRESHOLDS, state.threshold})],
    )


def _views(
    index: OpenIndex, image: ImageRef, state: _State, found: LayerDecomposition, groups: Sequence[Group]
) -> list[GroupView]:
    cards = cards_of_groups(index, state.layer, state.selection, groups, N_SHOWN)
    names = group_names(groups, cards.cards, state.layer)
    return [
        group_view(
            index,
            image.address,
            number,
            group,
            names[number - 1],
            cards,
            found,
            _choose(image, state, number),
            state.selection.text,
        )
        for number, group in enumerate(groups, start=1)
    ]


def _choose(image: ImageRef, state: _State, number: int) -> Link:
    current = state.group == number
    url = image.address.url("groups", **state.query(group=None if current else number))
    return Link("heat", url, current, "hide the heatmap" if current else "show its heatmap on the image")


def _threshold(image: ImageRef, state: _State, threshold: float) -> Link:
    url = image.address.url("groups", **state.query(threshold=threshold, group=None))
    words = f"every group has at least {percent(threshold)} of the activation"
    return Link(f"{100 * threshold:g} %", url, threshold == state.threshold, words)
