"""`/api/v1/{index}/images/{image_id}/...` and `.../uploads/{upload_id}/...`: the features of one image.

`activations` lists the active features, `heat` has heatmaps of one or more features, `groups` has the related
features, and `steering` the effect of editing features. Each route is written once, for both addresses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.responses import ENCODER, ERRORS, FOUND, GONE
from app.api.schemas.image_view import ActivationsOut, GroupsOut, ImageHeatmapOut, SteeringOut
from app.api.serializers.image import activations_out, groups_out, heatmap_out, steering_out
from app.engine.fair_share import FairLimiter
from app.params.dependencies import IndexDep, SiteDep
from app.params.view_params import (
    EditsQuery,
    FeaturesQuery,
    LayerQuery,
    LeastQuery,
    OrderQuery,
    PromptsQuery,
    ThresholdQuery,
    TokensQuery,
    TopQuery,
    known_edits,
    known_features,
    known_layer,
    known_order,
    known_prompts,
    known_selection,
)
from app.services.decomposition import layer_of
from app.services.images import ImageRef, image_by_number, image_by_upload_id
from app.services.steering import prompts_of, run_steered
from app.state import AppState, OpenIndex
from app.urls import API
from app.web.caching import PRIVATE
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits
from scopeview.analysis.grouping import THRESHOLD
from scopeview.analysis.token_selection import Order, Selection, summarize
from scopeview.slots import ANY, Layer

RESPONSES = {**ERRORS, **ENCODER, **GONE}

router = APIRouter(tags=["images"])


class ImageRoutes(NamedTuple):
    """The routes of one kind of image, and how its path is parsed."""

    path: str
    read: Callable[..., ImageRef]
    noun: str


KINDS = (
    ImageRoutes(API + "/{index}/images/{image_id}", image_by_number, "an image"),
    ImageRoutes(API + "/{index}/uploads/{upload_id}", image_by_upload_id, "an upload"),
)


@dataclass(frozen=True)
class LayerSelection:
    """One layer, and the tokens selected there."""

    site: AppState
    index: OpenIndex
    layer: Layer
    selection: Selection
    decoding: FairLimiter

    async def found(self, image: ImageRef, features: Sequence[int] = ()) -> LayerDecomposition:
        return await layer_of(self.site, self.index, image, self.layer, self.decoding, features)

    def place(self, image: ImageRef, *, approximate: bool) -> dict[str, Any]:
        """The fields of `ImageViewOut`."""
        return {
            **image_id_of(self.index, image),
            "layer": self.layer,
            "tokens": self.selection.text,
            "approximate": approximate,
        }


def image_id_of(index: OpenIndex, image: ImageRef) -> dict[str, Any]:
    """The fields of `ImageIdOut`."""
    return {"index": index.slug, "image_id": image.image_id, "upload_id": image.upload_id}


def view_of(
    request: Request,
    response: Response,
    site: SiteDep,
    index: IndexDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
) -> LayerSelection:
    """Returns the selection. Raises a 422 that names the available layers or tokens."""
    response.headers.update(PRIVATE)
    known = known_layer(index, layer)
    return LayerSelection(
        site, index, known, known_selection(index, known, tokens), request.app.state.decode_limiter
    )


ViewDep = Annotated[LayerSelection, Depends(view_of)]


@dataclass(frozen=True)
class ActiveListing:
    """Order and length of the list of active features."""

    order: Order
    top: int
    least: float


def listing_of(
    order: OrderQuery = "activation", top: TopQuery = 100, least: LeastQuery = 0.0
) -> ActiveListing:
    return ActiveListing(known_order(order), top, least)


ListingDep = Annotated[ActiveListing, Depends(listing_of)]


def add_routes(kind: ImageRoutes) -> None:
    @router.get(
        f"{kind.path}/activations",
        summary=f"Active features of {kind.noun} by token",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def activations(
        image: Annotated[ImageRef, Depends(kind.read)], view: ViewDep, listing: ListingDep
    ) -> ActivationsOut:
        return await _activations(image, view, listing)

    @router.get(
        f"{kind.path}/heat",
        summary=f"Heatmaps of features on {kind.noun}",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def heat(
        image: Annotated[ImageRef, Depends(kind.read)], view: ViewDep, features: FeaturesQuery
    ) -> ImageHeatmapOut:
        numbers = known_features(view.index, view.layer, features)
        found = await view.found(image, numbers)
        return heatmap_out(view.place(image, approximate=found.stored is not None), found, numbers)

    @router.get(
        f"{kind.path}/groups",
        summary=f"Groups of related features of {kind.noun}",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def groups(
        image: Annotated[ImageRef, Depends(kind.read)], view: ViewDep, threshold: ThresholdQuery = THRESHOLD
    ) -> GroupsOut:
        return await _groups(image, view, threshold)

    @router.get(
        f"{kind.path}/steering",
        summary=f"Steer {kind.noun} by editing features",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def steering(
        image: Annotated[ImageRef, Depends(kind.read)],
        view: ViewDep,
        edit: EditsQuery = (),
        prompt: PromptsQuery = (),
    ) -> SteeringOut:
        return await _steering(image, view, edit, prompt)


async def _activations(image: ImageRef, view: LayerSelection, listing: ActiveListing) -> ActivationsOut:
    found = await view.found(image)

    def answer() -> ActivationsOut:
        here = summarize(found, view.selection, order=listing.order, least=listing.least, top=listing.top)
        place = view.place(image, approximate=found.stored is not None)
        return activations_out(place, view.index, view.layer, found, here, view.site.json_urls)

    return await run_in_threadpool(answer)


async def _groups(image: ImageRef, view: LayerSelection, threshold: float) -> GroupsOut:
    found = await view.found(image)
    encoder = await run_in_threadpool(view.site.worker.encoder, view.index.reader.index_dir)
    place = view.place(image, approximate=not found.is_exact_at(view.selection.positions))
    return await run_in_threadpool(groups_out, place, encoder, view.layer, found, view.selection, threshold)


async def _steering(
    image: ImageRef, view: LayerSelection, edit: Sequence[str], prompt: Sequence[str]
) -> SteeringOut:
    site, index = view.site, view.index
    edits = FeatureEdits(view.layer, known_edits(index, view.layer, edit), view.selection.positions)
    texts = known_prompts(prompt)
    steered = await run_steered(site, index, image, edits, view.decoding)
    prompts = await prompts_of(site, index, texts)
    place = view.place(image, approximate=image.image_id is not None)
    return await run_in_threadpool(steering_out, place, index, edits, steered, prompts, site.json_urls)


for each in KINDS:
    add_routes(each)
