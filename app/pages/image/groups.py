"""`.../groups`: the features of a picture that belong together, each group with its name, heat and share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.engine.encoders import EncoderProtocol
from app.formatting import layer_name, percent
from app.pages.cards import rows_without_grid
from app.pages.image import approximate
from app.pages.image.activations import caching, grid_view
from app.pages.image.active_features import Cards
from app.pages.image.group_views import N_SHOWN, GroupView, group_names, group_view
from app.pages.image.header import HeaderView, header_view, image_frame, part_link
from app.pages.image.image_ref import Pictured, PicturedDep
from app.pages.image.patch_grid import GridView
from app.pages.image.view_state import Looking, deepest, selection_words, slot_of_figures
from app.pages.layout import Link
from app.pages.render import Page, render
from app.params.common import IndexDep, Positive, SiteDep
from app.params.view_params import LayerQuery, ThresholdQuery, TokensQuery, known_layer, known_selection
from app.services.images import layer_of
from app.state import AppState, OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition, Peaks
from scopeview.analysis.grouping import THRESHOLD, Group
from scopeview.analysis.token_selection import Selection, groups_here
from scopeview.slots import ANY, Layer

THRESHOLDS = (0.02, 0.03, THRESHOLD, 0.1, 0.2)
GroupQuery = Annotated[Positive | None, Query(description="the group whose heatmap is shown")]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class GroupsPage(Page):
    template = "image/groups.html"

    subject: HeaderView
    grid: GridView
    heading: str  # `L6 at patch (8, 8)`
    n_features: int  # that fire there
    is_about: bool  # whether that number is approximate
    note: str | None  # which values are approximate
    groups: list[GroupView]  # heaviest first
    thresholds: list[Link]  # the share that every group holds


@dataclass(frozen=True)
class _State:
    """What the address holds beside the picture."""

    layer: Layer
    selection: Selection
    threshold: float = THRESHOLD
    group: int | None = None

    def query(self, **changed: Any) -> dict[str, Any]:
        now = {"threshold": self.threshold, "group": self.group, **changed}
        threshold = None if now["threshold"] == THRESHOLD else f"{now['threshold']:g}"
        place: dict[str, Any] = {"layer": self.layer, "tokens": self.selection.text}
        return {**place, **now, "threshold": threshold}


@router.get("/{index}/{kind}/{picture}/groups", name="apart_groups")
async def groups(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    pictured: PicturedDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
    threshold: ThresholdQuery = THRESHOLD,
    group: GroupQuery = None,
) -> Response:
    at = deepest(index) if layer is None else known_layer(index, layer)
    state = _State(at, known_selection(index, at, tokens), threshold, group)
    if tokens != state.selection.text:
        return RedirectResponse(pictured.at.url("groups", **state.query()), 302)
    found = await layer_of(site, index, pictured.subject, at, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, pictured, state, found)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    pictured: Pictured,
    state: _State,
    found: LayerDecomposition,
) -> Response:
    return render(request, _page(request, site, index, pictured, state, found), headers=caching(pictured))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    pictured: Pictured,
    state: _State,
    found: LayerDecomposition,
) -> GroupsPage:
    at, selection = pictured.at, state.selection
    encoder = site.worker.encoder(index.reader.index_dir)
    made = groups_of(encoder, state.layer, found, selection, state.threshold)
    views = _views(index, pictured, state, found, made)
    chosen = next((view for view in views if view.number == state.group), None)
    looking = Looking(at, state.layer, selection)
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
        subject=header_view(
            request, site, index, pictured, "groups", layer=state.layer, tokens=selection.text
        ),
        grid=grid_view(
            index,
            looking,
            chosen.heat if chosen else None,
            to=lambda tokens: at.url("groups", **{**place, "tokens": tokens}, threshold=threshold),
        ),
        heading=f"{layer_name(state.layer)} {where}",
        n_features=sum(len(group.features) for group in made),
        is_about=not found.is_exact_at(selection.positions),
        note=approximate.of_groups(found, selection.positions),
        groups=views,
        thresholds=[_threshold(pictured, state, each) for each in sorted({*THRESHOLDS, state.threshold})],
    )


def groups_of(
    encoder: EncoderProtocol,
    layer: Layer,
    found: LayerDecomposition,
    selection: Selection,
    threshold: float = THRESHOLD,
) -> list[Group]:
    peaks = Peaks(found, selection.positions)
    directions = encoder.directions(layer, peaks.features.tolist())
    return groups_here(found, selection, directions, threshold=threshold)


def cards_of(index: OpenIndex, layer: Layer, selection: Selection, made: Sequence[Group], n: int) -> Cards:
    """Of all their features; with the pictures of the `n` heaviest of each."""
    slot = slot_of_figures(index, layer, selection)
    cards = index.reader.cards(slot, [feature for group in made for feature in group.features.tolist()])
    shown = [cards[at] for group in made for at in group.features[:n].tolist() if at in cards]
    return Cards(slot, cards, rows_without_grid(index, shown), {})


def _views(
    index: OpenIndex, pictured: Pictured, state: _State, found: LayerDecomposition, made: Sequence[Group]
) -> list[GroupView]:
    cards = cards_of(index, state.layer, state.selection, made, N_SHOWN)
    names = group_names(made, cards.cards, state.layer)
    return [
        group_view(
            index,
            pictured.at,
            number,
            group,
            names[number - 1],
            cards,
            found,
            _choose(pictured, state, number),
            state.selection.text,
        )
        for number, group in enumerate(made, start=1)
    ]


def _choose(pictured: Pictured, state: _State, number: int) -> Link:
    current = state.group == number
    url = pictured.at.url("groups", **state.query(group=None if current else number))
    return Link("heat", url, current, "hide the heatmap" if current else "show its heatmap on the image")


def _threshold(pictured: Pictured, state: _State, threshold: float) -> Link:
    url = pictured.at.url("groups", **state.query(threshold=threshold, group=None))
    words = f"every group has at least {percent(threshold)} of the activation"
    return Link(f"{100 * threshold:g} %", url, threshold == state.threshold, words)
