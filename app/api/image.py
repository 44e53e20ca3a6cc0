"""`/api/v1/{index}/images/{image_id}/...` and `.../uploads/{upload_id}/...`: a picture taken apart.

`apart` is what is active where, `heat` where one feature or several are, `groups` which belong together, and
`knobs` what turning some of them does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.heatmap import ENCODER
from app.api.index import ERRORS, FOUND
from app.api.schemas import image as models
from app.api.serializers.image import apart_out, groups_out, heat_out, knobs_out
from app.api.uploads import GONE, PRIVATE
from app.engine.fair_share import FairLimiter
from app.params.common import IndexDep, SiteDep
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
from app.services.images import ImageSubject, Subject, UploadSubject, layer_of
from app.services.steering import prompts_of, run_steered
from app.state import AppState, OpenIndex
from app.urls import API
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits
from scopeview.analysis.grouping import THRESHOLD
from scopeview.analysis.token_selection import Order, Selection, summarize
from scopeview.slots import ANY, Layer

IMAGE, UPLOAD = API + "/{index}/images/{image_id}", API + "/{index}/uploads/{upload_id}"
RESPONSES = {**ERRORS, **ENCODER, **GONE}

router = APIRouter(tags=["pictures"])


@dataclass(frozen=True)
class TokenView:
    """One layer, and the tokens selected there."""

    site: AppState
    index: OpenIndex
    layer: Layer
    selection: Selection
    decoding: FairLimiter

    async def found(self, subject: Subject, features: Sequence[int] = ()) -> LayerDecomposition:
        return await layer_of(self.site, self.index, subject, self.layer, self.decoding, features)

    def place(self, subject: Subject, *, approximate: bool) -> dict[str, Any]:
        """The fields of `PictureOut`."""
        return {
            **place_of(self.index, subject),
            "layer": self.layer,
            "tokens": self.selection.text,
            "approximate": approximate,
        }


def place_of(index: OpenIndex, subject: Subject) -> dict[str, Any]:
    """The fields of `OfPictureOut`."""
    return {"index": index.slug, "image_id": subject.image_id, "upload_id": subject.upload_id}


def view_of(
    request: Request,
    response: Response,
    site: SiteDep,
    index: IndexDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
) -> TokenView:
    """Raises a 422 naming the layers or tokens there are."""
    response.headers.update(PRIVATE)
    known = known_layer(index, layer)
    return TokenView(
        site, index, known, known_selection(index, known, tokens), request.app.state.decode_limiter
    )


ViewDep = Annotated[TokenView, Depends(view_of)]


@dataclass(frozen=True)
class ActiveListing:
    """Which of the active features are listed, and in what order."""

    order: Order
    top: int
    least: float


def listing_of(
    order: OrderQuery = "activation", top: TopQuery = 100, least: LeastQuery = 0.0
) -> ActiveListing:
    return ActiveListing(known_order(order), top, least)


ListingDep = Annotated[ActiveListing, Depends(listing_of)]


@router.get(
    f"{IMAGE}/apart",
    summary="Active features of an image by token",
    response_description=FOUND,
    responses=RESPONSES,
)
async def image_apart(subject: ImageSubject, view: ViewDep, listing: ListingDep) -> models.ApartOut:
    return await _apart(subject, view, listing)


@router.get(
    f"{UPLOAD}/apart",
    summary="Active features of an upload by token",
    response_description=FOUND,
    responses=RESPONSES,
)
async def upload_apart(subject: UploadSubject, view: ViewDep, listing: ListingDep) -> models.ApartOut:
    return await _apart(subject, view, listing)


@router.get(
    f"{IMAGE}/heat",
    summary="Heatmaps of features on an image",
    response_description=FOUND,
    responses=RESPONSES,
)
async def image_heat(subject: ImageSubject, view: ViewDep, features: FeaturesQuery) -> models.PictureHeatOut:
    return await _heat(subject, view, features)


@router.get(
    f"{UPLOAD}/heat",
    summary="Heatmaps of features on an upload",
    response_description=FOUND,
    responses=RESPONSES,
)
async def upload_heat(
    subject: UploadSubject, view: ViewDep, features: FeaturesQuery
) -> models.PictureHeatOut:
    return await _heat(subject, view, features)


@router.get(
    f"{IMAGE}/groups",
    summary="Groups of related features of an image",
    response_description=FOUND,
    responses=RESPONSES,
)
async def image_groups(
    subject: ImageSubject, view: ViewDep, threshold: ThresholdQuery = THRESHOLD
) -> models.GroupsOut:
    return await _groups(subject, view, threshold)


@router.get(
    f"{UPLOAD}/groups",
    summary="Groups of related features of an upload",
    response_description=FOUND,
    responses=RESPONSES,
)
async def upload_groups(
    subject: UploadSubject, view: ViewDep, threshold: ThresholdQuery = THRESHOLD
) -> models.GroupsOut:
    return await _groups(subject, view, threshold)


@router.get(
    f"{IMAGE}/knobs",
    summary="Steer an image by editing features",
    response_description=FOUND,
    responses=RESPONSES,
)
async def image_knobs(
    subject: ImageSubject, view: ViewDep, edit: EditsQuery = (), prompt: PromptsQuery = ()
) -> models.KnobsOut:
    return await _knobs(subject, view, edit, prompt)


@router.get(
    f"{UPLOAD}/knobs",
    summary="Steer an upload by editing features",
    response_description=FOUND,
    responses=RESPONSES,
)
async def upload_knobs(
    subject: UploadSubject, view: ViewDep, edit: EditsQuery = (), prompt: PromptsQuery = ()
) -> models.KnobsOut:
    return await _knobs(subject, view, edit, prompt)


async def _apart(subject: Subject, view: TokenView, listing: ActiveListing) -> models.ApartOut:
    found = await view.found(subject)

    def answer() -> models.ApartOut:
        here = summarize(found, view.selection, order=listing.order, least=listing.least, top=listing.top)
        place = view.place(subject, approximate=found.stored is not None)
        return apart_out(place, view.index, view.layer, found, here, view.site.json_urls)

    return await run_in_threadpool(answer)


async def _heat(subject: Subject, view: TokenView, features: str) -> models.PictureHeatOut:
    numbers = known_features(view.index, view.layer, features)
    found = await view.found(subject, numbers)
    return heat_out(view.place(subject, approximate=found.stored is not None), found, numbers)


async def _groups(subject: Subject, view: TokenView, threshold: float) -> models.GroupsOut:
    found = await view.found(subject)
    encoder = await run_in_threadpool(view.site.worker.encoder, view.index.reader.index_dir)
    place = view.place(subject, approximate=not found.is_exact_at(view.selection.positions))
    return await run_in_threadpool(groups_out, place, encoder, view.layer, found, view.selection, threshold)


async def _knobs(
    subject: Subject, view: TokenView, edits: Sequence[str], prompts: Sequence[str]
) -> models.KnobsOut:
    site, index = view.site, view.index
    knobs = FeatureEdits(view.layer, known_edits(index, view.layer, edits), view.selection.positions)
    texts = known_prompts(prompts)
    both = await run_steered(site, index, subject, knobs, view.decoding)
    compared = await prompts_of(site, index, texts)
    place = view.place(subject, approximate=subject.image_id is not None)
    return await run_in_threadpool(knobs_out, place, index, subject, knobs, both, compared, site.json_urls)
