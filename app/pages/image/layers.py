"""`.../layers`: the groups of an image layer by layer, at CLS or at some patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name
from app.pages.cards import Bar, FeatureView, bar
from app.pages.image import approximate
from app.pages.image.activations import cache_headers, grid_view
from app.pages.image.active_features import view_of
from app.pages.image.flow_svg import WIDTH_PX, LineView, height_px, lines, tops_px
from app.pages.image.header import HeaderView, header_view, image_frame
from app.pages.image.patch_grid import GridView
from app.pages.image.view_state import ViewState, selection_words
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, SiteDep
from app.params.view_params import TokensQuery, known_selection
from app.services.decomposition import layers_of
from app.services.images import ImageDep, ImageRef
from app.services.layer_flow import LayerColumn, features_of, layer_flow
from app.state import AppState, OpenIndex
from app.urls import ImageAddress
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.token_selection import Selection
from scopeview.slots import CLS, Layer

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class NodeView:
    """One feature of a group."""

    number: int
    feature: FeatureView
    url: str  # its heatmap on this image


@dataclass(frozen=True)
class NodeGroupView:
    """One of the largest groups of a layer."""

    name: str
    share: Bar  # of the mass of all features there
    n_features: int
    url: str  # the group's heat
    nodes: list[NodeView]  # its largest features


@dataclass(frozen=True)
class ColumnView:
    """One layer."""

    name: str
    url: str  # all that is active there
    n_features: int
    n_groups: int
    explained_variance: float | None
    groups: list[NodeGroupView]
    lines: list[LineView]  # to the next column; empty for the last


@dataclass(frozen=True)
class LayersPage(Page):
    template = "image/layers.html"

    header: HeaderView
    grid: GridView
    where: str  # `at CLS`
    note: str | None  # which values are approximate
    columns: list[ColumnView]
    width_px: int  # between two columns
    height_px: int


@router.get("/{index}/{kind}/{image_id}/layers", name="image_layers")
async def layers(
    request: Request, site: SiteDep, index: IndexDep, image: ImageDep, tokens: TokensQuery = CLS
) -> Response:
    selection = known_selection(index, index.deepest_layer, tokens)
    if tokens != selection.text:
        return RedirectResponse(image.address.url("layers", tokens=selection.text), 302)
    decoding = request.app.state.decode_limiter
    found = await layers_of(site, index, image, index.blocks, decoding)
    return await run_in_threadpool(_answer, request, site, index, image, selection, found)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    selection: Selection,
    found: dict[Layer, LayerDecomposition],
) -> Response:
    return render(request, _page(request, site, index, image, selection, found), headers=cache_headers(image))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    selection: Selection,
    found: dict[Layer, LayerDecomposition],
) -> LayersPage:
    at, encoder = image.address, site.worker.encoder(index.reader.index_dir)
    columns = layer_flow(index, encoder, found, selection)
    layer = index.deepest_layer
    place: dict[str, Any] = {"tokens": None if selection.text == CLS else selection.text}
    return LayersPage(
        frame=image_frame(
            index,
            at,
            "layer by layer",
            layer=layer,
            tokens=selection.text,
            link=lambda to, token: _switched(image, to, layer, token, selection.text),
            json_url=at.url("layers", api=True, **place),
        ),
        header=header_view(request, site, index, image, "layers", layer=layer, tokens=selection.text),
        grid=grid_view(
            index,
            ViewState(at, layer, selection),
            None,
            to=lambda tokens: at.url("layers", **{**place, "tokens": tokens}),
        ),
        where=selection_words(selection, layer, index.manifest.model.grid_size),
        note=approximate.of_layers(list(found.values()), selection.positions),
        columns=column_views(index, at, columns, selection.text),
        width_px=WIDTH_PX,
        height_px=height_of(columns),
    )


def _switched(image: ImageRef, to: Layer, here: Layer, token: str | None, tokens: str) -> str:
    """Returns a link of the rail, to that layer's own page, or of the switch, to this page.

    The rail leads away, since all layers are here.
    """
    if to == here and token is not None:
        return image.address.url("layers", tokens=None if token == CLS else token)
    return ViewState(image.address, here, Selection(tokens, None)).at_layer(to, token).url()


def column_views(
    index: OpenIndex, at: ImageAddress, columns: Sequence[LayerColumn], tokens: str
) -> list[ColumnView]:
    """Returns the columns, with the lines between them."""
    drawn = [
        lines(one.links, tops_px(_drawn(one)), tops_px(_drawn(other))) for one, other in pairwise(columns)
    ]
    return [
        _view(index, at, column, tokens, between)
        for column, between in zip(columns, [*drawn, []], strict=False)
    ]


def height_of(columns: Sequence[LayerColumn]) -> int:
    return max((height_px(_drawn(column)) for column in columns), default=0)


def _drawn(column: LayerColumn) -> list[list[int]]:
    """Returns the features of each group."""
    return [features_of([group]) for group in column.groups]


def _view(
    index: OpenIndex, at: ImageAddress, column: LayerColumn, tokens: str, drawn: list[LineView]
) -> ColumnView:
    return ColumnView(
        name=layer_name(column.layer),
        url=at.url("activations", layer=column.layer, tokens=tokens),
        n_features=column.n_features,
        n_groups=column.n_groups,
        explained_variance=column.explained_variance,
        groups=[
            NodeGroupView(
                name=group.names[0],
                share=bar(group.share, 1.0),
                n_features=group.n_features,
                url=at.url("groups", layer=column.layer, tokens=tokens, group=number),
                nodes=[_node(index, at, column, feature, tokens) for feature in features_of([group])],
            )
            for number, group in enumerate(column.groups, start=1)
        ],
        lines=drawn,
    )


def _node(index: OpenIndex, at: ImageAddress, column: LayerColumn, feature: int, tokens: str) -> NodeView:
    url = at.url("activations", layer=column.layer, tokens=tokens, feature=feature)
    return NodeView(feature, view_of(index, at, column.cards, feature), url)
