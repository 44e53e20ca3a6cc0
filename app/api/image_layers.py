"""`.../layers`: an image's largest groups layer by layer, and links between their features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.image import KINDS, RESPONSES, ImageRoutes, image_id_of
from app.api.responses import FOUND
from app.api.schemas.base import Schema
from app.api.schemas.image_view import TOKENS, ImageIdOut
from app.engine.fair_share import FairLimiter
from app.params.dependencies import WHOLE, IndexDep, SiteDep
from app.params.view_params import TokensQuery, known_selection
from app.services.decomposition import layers_of
from app.services.images import ImageRef
from app.services.layer_flow import N_FEATURES, N_GROUPS, HeavyGroup, LayerColumn, layer_flow
from app.state import AppState, OpenIndex
from app.urls import Urls
from app.web.caching import PRIVATE
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.grouping import MAX_GROUPS
from scopeview.analysis.token_selection import Selection
from scopeview.slots import CLS, Layer
from scopeview.store.records import NeighborKind

GroupsQuery = Annotated[
    int, Field(ge=1, le=MAX_GROUPS), WHOLE, Query(description="maximum number of groups per layer")
]
MembersQuery = Annotated[
    int, Field(ge=1, le=50), WHOLE, Query(description="maximum number of features per group")
]

router = APIRouter(tags=["images"])


class NodeOut(Schema):
    feature: int
    name: str | None = Field(description="best name; null without names")
    activation: float = Field(description="maximum over the selected tokens")
    mass: float = Field(description="activation × decoder norm, summed over the selected tokens")
    url: str


class NodeGroupOut(Schema):
    name: str = Field(description="name with the most mass")
    share: float = Field(description="share of the mass of all features active here")
    mass: float
    n_features: int = Field(description="features in the group, listed or not")
    features: list[NodeOut] = Field(description="largest mass first")


class LinkOut(Schema):
    kind: NeighborKind = Field(description="decoder: cosine of decoder rows; cofiring: Jaccard over images")
    feature: int = Field(description="feature of this layer")
    other: int = Field(description="feature of the next layer")
    score: float


class ColumnOut(Schema):
    layer: Layer
    token: str = Field(description="token whose names are used")
    n_features: int = Field(description="features active at the selected tokens")
    n_groups: int = Field(description="groups, listed or not")
    explained_variance: float | None
    groups: list[NodeGroupOut] = Field(description="largest mass first")
    links: list[LinkOut] = Field(description="to the next layer, strongest first; empty for the last")


class LayersOut(ImageIdOut):
    tokens: str = Field(description=TOKENS)
    approximate: bool = Field(
        description="true for an indexed image at tokens whose codes the index does not store: values are"
        " then recomputed from its lossy thumbnail"
    )
    layers: list[ColumnOut] = Field(description="every block, in index order")


@dataclass(frozen=True)
class LayersView:
    """The selected tokens, and the size of the lists."""

    site: AppState
    index: OpenIndex
    selection: Selection
    n_groups: int
    n_features: int
    decoding: FairLimiter


def view_of(
    request: Request,
    response: Response,
    site: SiteDep,
    index: IndexDep,
    tokens: TokensQuery = CLS,
    groups: GroupsQuery = N_GROUPS,
    features: MembersQuery = N_FEATURES,
) -> LayersView:
    """Returns the view. Raises a 422 that names the available tokens."""
    response.headers.update(PRIVATE)
    selection = known_selection(index, index.deepest_layer, tokens)
    return LayersView(site, index, selection, groups, features, request.app.state.decode_limiter)


ViewDep = Annotated[LayersView, Depends(view_of)]


def add_route(kind: ImageRoutes) -> None:
    @router.get(
        f"{kind.path}/layers",
        summary=f"{kind.noun.capitalize()} layer by layer",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def layers(image: Annotated[ImageRef, Depends(kind.read)], view: ViewDep) -> LayersOut:
        found = await layers_of(view.site, view.index, image, view.index.blocks, view.decoding)
        return await run_in_threadpool(_out, image, view, found)


for each in KINDS:
    add_route(each)


def _out(image: ImageRef, view: LayersView, found: Mapping[Layer, LayerDecomposition]) -> LayersOut:
    site, index = view.site, view.index
    encoder = site.worker.encoder(index.reader.index_dir)
    columns = layer_flow(
        index, encoder, found, view.selection, n_groups=view.n_groups, n_features=view.n_features
    )
    return LayersOut(
        **image_id_of(index, image),
        tokens=view.selection.text,
        approximate=not all(each.is_exact_at(view.selection.positions) for each in found.values()),
        layers=[_column(index, column, site.json_urls) for column in columns],
    )


def _column(index: OpenIndex, column: LayerColumn, urls: Urls) -> ColumnOut:
    return ColumnOut(
        layer=column.layer,
        token=column.cards.slot.token,
        n_features=column.n_features,
        n_groups=column.n_groups,
        explained_variance=column.explained_variance,
        groups=[_group(index, column, group, urls) for group in column.groups],
        links=[
            LinkOut(kind=link.kind, feature=link.feature, other=link.other, score=link.score)
            for link in column.links
        ],
    )


def _group(index: OpenIndex, column: LayerColumn, group: HeavyGroup, urls: Urls) -> NodeGroupOut:
    slot = column.cards.slot
    return NodeGroupOut(
        name=group.names[0],
        share=group.share,
        mass=group.mass,
        n_features=group.n_features,
        features=[
            NodeOut(
                feature=active.feature,
                name=column.cards.cards[active.feature].name,
                activation=active.activation,
                mass=active.mass,
                url=urls.feature(index.slug, slot.layer, active.feature, slot.token),
            )
            for active in group.features
        ],
    )
