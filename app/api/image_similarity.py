"""`.../similar` and `.../compare`: similar images, and two images side by side."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.image import KINDS, RESPONSES, ImageRoutes, image_id_of
from app.api.responses import FOUND
from app.api.schemas.base import Schema
from app.api.schemas.image_view import ImageIdOut, NearImageOut
from app.api.serializers.image import near_image
from app.params.dependencies import IndexDep, SiteDep, TokenQuery, slot_of
from app.params.view_params import AnyLayerQuery, DeepLayerQuery, OtherImageQuery, deep_layer, slot_filter
from app.services.compare_images import CodeOverlap, compare_images
from app.services.images import ImageRef, other_image
from app.services.similar_images import SimilarImage, embedding_of, similar_images
from app.state import AppState, OpenIndex
from app.urls import Urls
from app.web.caching import PRIVATE
from scopeview.slots import Layer
from scopeview.store.records import ActiveFeature


def _private(response: Response) -> None:
    response.headers.update(PRIVATE)


router = APIRouter(tags=["images"], dependencies=[Depends(_private)])


class SimilarOut(ImageIdOut):
    layer: Layer
    token: str
    by_embedding: list[NearImageOut] = Field(description="by cosine of CLIP embeddings, most similar first")
    by_code: list[NearImageOut] = Field(description="by cosine of the sparse codes at that layer and token")
    why_no_embedding: str | None = Field(description="why there is no comparison; null where there is one")
    why_no_code: str | None


class OnlyOut(Schema):
    feature: int
    activation: float


class SharedOut(Schema):
    feature: int
    here: float = Field(description="activation on this image")
    there: float = Field(description="activation on the other image")


class OverlapOut(Schema):
    layer: Layer
    token: str
    likeness: float = Field(description="overlap: features of both / features of either")
    shared: list[SharedOut] = Field(description="by the lower of the two activations, highest first")
    only_here: list[OnlyOut]
    only_there: list[OnlyOut]


class ImageCompareOut(ImageIdOut):
    other: str = Field(description="the other image, as requested")
    layers: list[OverlapOut] = Field(description="from stored codes; empty where none are stored")


def add_routes(kind: ImageRoutes) -> None:
    @router.get(
        f"{kind.path}/similar",
        summary=f"Images similar to {kind.noun}",
        response_description=FOUND,
        responses=RESPONSES,
    )
    async def similar(
        request: Request,
        site: SiteDep,
        index: IndexDep,
        image: Annotated[ImageRef, Depends(kind.read)],
        layer: DeepLayerQuery = None,
        token: TokenQuery = None,
    ) -> SimilarOut:
        return await _similar(request, site, index, image, layer, token)

    @router.get(
        f"{kind.path}/compare",
        summary=f"Compare {kind.noun} with another image",
        response_description=FOUND,
        responses=RESPONSES,
    )
    def compare(
        site: SiteDep,
        index: IndexDep,
        image: Annotated[ImageRef, Depends(kind.read)],
        other: OtherImageQuery,
        layer: AnyLayerQuery = None,
        token: TokenQuery = None,
    ) -> ImageCompareOut:
        return _compare(index, image, other_image(site, index, other.strip()), layer, token)


async def _similar(
    request: Request, site: AppState, index: OpenIndex, image: ImageRef, layer: str | None, token: str | None
) -> SimilarOut:
    slot = slot_of(index, deep_layer(index, layer), token)
    embedding = await embedding_of(site, index, image, request.app.state.decode_limiter)
    found = await run_in_threadpool(similar_images, index, image, slot, embedding)
    return SimilarOut(
        **image_id_of(index, image),
        layer=slot.layer,
        token=slot.token,
        by_embedding=_near(index, found.by_embedding, site.json_urls),
        by_code=_near(index, found.by_code, site.json_urls),
        why_no_embedding=found.why_no_embedding,
        why_no_code=found.why_no_code,
    )


def _near(index: OpenIndex, found: Sequence[SimilarImage], urls: Urls) -> list[NearImageOut]:
    return [near_image(index, each.row, each.cosine, urls) for each in found]


def _compare(
    index: OpenIndex, image: ImageRef, other: ImageRef, layer: str | None, token: str | None
) -> ImageCompareOut:
    found = compare_images(index, image, other, slot_filter(index, layer, token))
    return ImageCompareOut(
        **image_id_of(index, image),
        other=str(other.address.image),
        layers=[_overlap(each) for each in found],
    )


def _overlap(found: CodeOverlap) -> OverlapOut:
    return OverlapOut(
        layer=found.slot.layer,
        token=found.slot.token,
        likeness=found.likeness,
        shared=[
            SharedOut(feature=pair.one.feature, here=pair.one.activation, there=pair.other.activation)
            for pair in found.shared
        ],
        only_here=_alone(found.one),
        only_there=_alone(found.other),
    )


def _alone(found: Sequence[ActiveFeature]) -> list[OnlyOut]:
    return [OnlyOut(feature=pair.feature, activation=pair.activation) for pair in found]


for each in KINDS:
    add_routes(each)
