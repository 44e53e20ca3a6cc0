"""`.../layers`: how a picture's explanation changes from layer to layer, at CLS or at some patches."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name
from app.inference.encoders import Encoder
from app.inference.subjects import layers_of
from app.looking import TokensQuery, known_selection
from app.pages.apart.active import Cards, view_of
from app.pages.apart.flow import WIDTH_PX, Likeness, LineView, by_decoder, height_px, lines, tops_px
from app.pages.apart.grid import GridView
from app.pages.apart.grouped import names_of
from app.pages.apart.groups import cards_of, groups_of
from app.pages.apart.looking import Looking, deepest, selection_words
from app.pages.apart.page import caching, grid_view
from app.pages.apart.pictured import Pictured, PicturedDep
from app.pages.apart.subject import SubjectView, apart_frame, subject_view
from app.pages.parts import Bar, FeatureView, bar
from app.pages.render import Page, render
from app.params import IndexDep, SiteDep
from app.site import OpenIndex, Site
from scopeview.apart import LayerApart
from scopeview.grouping import Group
from scopeview.selection import Selection
from scopeview.slots import CLS, EMBED, Layer

N_GROUPS, N_FEATURES = 3, 3

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class NodeView:
    """One feature of a group."""

    number: int
    feature: FeatureView
    url: str  # its heat on this picture


@dataclass(frozen=True)
class NodeGroupView:
    """One of the heaviest groups of a layer."""

    name: str
    share: Bar  # of the mass of all features there
    n_features: int
    url: str  # the group's heat
    nodes: list[NodeView]  # its heaviest features


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
    template = "apart_layers.html"

    subject: SubjectView
    grid: GridView
    where: str  # `at CLS`
    columns: list[ColumnView]
    width_px: int  # between two columns
    height_px: int


@dataclass(frozen=True)
class _Column:
    """What is known of one layer before it is drawn."""

    layer: Layer
    found: LayerApart
    made: list[Group]
    cards: Cards

    @property
    def shown(self) -> list[list[int]]:
        """The features drawn, group by group."""
        return [
            [at for at in group.features[:N_FEATURES].tolist() if at in self.cards.cards]
            for group in self.made[:N_GROUPS]
        ]

    @property
    def features(self) -> list[int]:
        return [feature for group in self.shown for feature in group]


@router.get("/{index}/{kind}/{picture}/layers", name="apart_layers")
async def layers(
    request: Request, site: SiteDep, index: IndexDep, pictured: PicturedDep, tokens: TokensQuery = CLS
) -> Response:
    selection = known_selection(index, deepest(index), tokens)
    if tokens != selection.text:
        return RedirectResponse(pictured.at.url("layers", tokens=selection.text), 302)
    wanted = [layer for layer in index.layers if layer != EMBED]
    found = await layers_of(site, index, pictured.subject, wanted, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, pictured, selection, found)


def _answer(
    request: Request,
    site: Site,
    index: OpenIndex,
    pictured: Pictured,
    selection: Selection,
    found: dict[Layer, LayerApart],
) -> Response:
    return render(request, _page(request, site, index, pictured, selection, found), headers=caching(pictured))


def _page(
    request: Request,
    site: Site,
    index: OpenIndex,
    pictured: Pictured,
    selection: Selection,
    found: dict[Layer, LayerApart],
) -> LayersPage:
    at, encoder = pictured.at, site.worker.encoder(index.reader.index_dir)
    columns = [_column(index, encoder, layer, each, selection) for layer, each in found.items()]
    drawn = [_lines(index, encoder, one, other) for one, other in pairwise(columns)]
    layer = deepest(index)
    place: dict[str, Any] = {"tokens": None if selection.text == CLS else selection.text}
    return LayersPage(
        frame=apart_frame(
            index,
            at,
            "through the layers",
            layer=layer,
            tokens=selection.text,
            link=lambda to, token: _switched(pictured, to, layer, token, selection.text),
            json_url=at.url("apart", api=True, layer=layer, tokens=selection.text),
        ),
        subject=subject_view(request, site, index, pictured, "layers", layer=layer, tokens=selection.text),
        grid=grid_view(
            index,
            Looking(at, layer, selection),
            None,
            to=lambda tokens: at.url("layers", **{**place, "tokens": tokens}),
        ),
        where=selection_words(selection, layer, index.manifest.model.grid_size),
        columns=[
            _view(index, pictured, column, selection, line)
            for column, line in zip(columns, [*drawn, []], strict=True)
        ],
        width_px=WIDTH_PX,
        height_px=max((height_px(column.shown) for column in columns), default=0),
    )


def _switched(pictured: Pictured, to: Layer, here: Layer, token: str | None, tokens: str) -> str:
    """The rail leads to the layer itself, since all of them are here; the switch stays on this page."""
    if to == here and token is not None:
        return pictured.at.url("layers", tokens=None if token == CLS else token)
    return Looking(pictured.at, here, Selection(tokens, None)).through(to, token).url()


def _column(
    index: OpenIndex, encoder: Encoder, layer: Layer, found: LayerApart, selection: Selection
) -> _Column:
    made = groups_of(encoder, layer, found, selection)
    return _Column(layer, found, made, cards_of(index, layer, selection, made, N_FEATURES))


def _lines(index: OpenIndex, encoder: Encoder, one: _Column, other: _Column) -> list[LineView]:
    left, right = one.features, other.features
    likeness = by_decoder(
        left, encoder.directions(one.layer, left), right, encoder.directions(other.layer, right)
    )
    near = index.reader.near_in(one.cards.slot, left, other.layer, "cofiring")
    likeness += [Likeness("cofiring", feature, hit.feature, hit.score) for feature, hit in near]
    return lines(likeness, tops_px(one.shown), tops_px(other.shown))


def _view(
    index: OpenIndex, pictured: Pictured, column: _Column, selection: Selection, drawn: list[LineView]
) -> ColumnView:
    at, tokens = pictured.at, selection.text
    positions = slice(None) if selection.positions is None else list(selection.positions)
    explained = float(column.found.explained_variance[positions].mean())
    return ColumnView(
        name=layer_name(column.layer),
        url=at.url("apart", layer=column.layer, tokens=tokens),
        n_features=sum(len(group.features) for group in column.made),
        n_groups=len(column.made),
        explained_variance=explained if explained == explained else None,
        groups=[
            NodeGroupView(
                name=names_of(group, column.cards.cards, column.layer)[0],
                share=bar(group.share, 1.0),
                n_features=len(group.features),
                url=at.url("groups", layer=column.layer, tokens=tokens, group=number),
                nodes=[_node(index, pictured, column, feature, tokens) for feature in features],
            )
            for number, (group, features) in enumerate(zip(column.made, column.shown, strict=False), start=1)
        ],
        lines=drawn,
    )


def _node(index: OpenIndex, pictured: Pictured, column: _Column, feature: int, tokens: str) -> NodeView:
    view = view_of(index, pictured.at, column.cards, feature)
    url = pictured.at.url("apart", layer=column.layer, tokens=tokens, feature=feature)
    return NodeView(feature, view, url)
