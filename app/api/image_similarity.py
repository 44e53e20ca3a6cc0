"""`.../similar` and `.../compare`: a picture among the images of the index, and beside another picture."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.image import IMAGE, RESPONSES, UPLOAD, place_of
from app.api.index import FOUND
from app.api.schemas.common import _Model
from app.api.schemas.image import NearImageOut, OfPictureOut
from app.api.uploads import PRIVATE
from app.pages.image.compare import WithQuery
from app.pages.image.image_ref import other_picture
from app.pages.image.view_state import deepest
from app.pages.image_slots import shown
from app.params.common import IndexDep, SiteDep, TokenQuery, slot_of
from app.params.view_params import AnyLayerQuery, DeepLayerQuery, known_layer
from app.services.compare_images import CodeOverlap, code_overlaps
from app.services.images import ImageSubject, Subject, UploadSubject
from app.services.similar_images import SimilarImage, embedding_of, similar_images
from app.state import AppState, OpenIndex
from app.urls import Urls
from scopeview.slots import Layer
from scopeview.store.records import ActiveFeature


def _private(response: Response) -> None:
    response.headers.update(PRIVATE)


router = APIRouter(tags=["pictures"], dependencies=[Depends(_private)])


class SimilarOut(OfPictureOut):
    layer: Layer
    token: str
    by_embedding: list[NearImageOut] = Field(description="by cosine of CLIP embeddings, most similar first")
    by_code: list[NearImageOut] = Field(description="by cosine of the sparse codes at that layer and token")
    why_no_embedding: str | None = Field(description="why there is no comparison; null where there is one")
    why_no_code: str | None


class AloneOut(_Model):
    feature: int
    activation: float


class SharedOut(_Model):
    feature: int
    here: float = Field(description="activation on this image")
    there: float = Field(description="activation on the other image")


class SidesOut(_Model):
    layer: Layer
    token: str
    likeness: float = Field(description="overlap: features of both / features of either")
    shared: list[SharedOut] = Field(description="by the lower of the two activations, highest first")
    only_here: list[AloneOut]
    only_there: list[AloneOut]


class ImageCompareOut(OfPictureOut):
    other: str = Field(description="the other image, as requested")
    layers: list[SidesOut] = Field(description="from stored codes; empty where none are stored")


@router.get(
    f"{IMAGE}/similar", summary="Images similar to an image", response_description=FOUND, responses=RESPONSES
)
async def image_similar(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    subject: ImageSubject,
    layer: DeepLayerQuery = None,
    token: TokenQuery = None,
) -> SimilarOut:
    return await _similar(request, site, index, subject, layer, token)


@router.get(
    f"{UPLOAD}/similar",
    summary="Images similar to an upload",
    response_description=FOUND,
    responses=RESPONSES,
)
async def upload_similar(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    subject: UploadSubject,
    layer: DeepLayerQuery = None,
    token: TokenQuery = None,
) -> SimilarOut:
    return await _similar(request, site, index, subject, layer, token)


@router.get(
    f"{IMAGE}/compare",
    summary="Compare an image with another image",
    response_description=FOUND,
    responses=RESPONSES,
)
def image_compare(
    site: SiteDep,
    index: IndexDep,
    subject: ImageSubject,
    other: Annotated[str, WithQuery],
    layer: AnyLayerQuery = None,
    token: TokenQuery = None,
) -> ImageCompareOut:
    return _compare(site, index, subject, other, layer, token)


@router.get(
    f"{UPLOAD}/compare",
    summary="Compare an upload with another image",
    response_description=FOUND,
    responses=RESPONSES,
)
def upload_compare(
    site: SiteDep,
    index: IndexDep,
    subject: UploadSubject,
    other: Annotated[str, WithQuery],
    layer: AnyLayerQuery = None,
    token: TokenQuery = None,
) -> ImageCompareOut:
    return _compare(site, index, subject, other, layer, token)


async def _similar(
    request: Request, site: AppState, index: OpenIndex, subject: Subject, layer: str | None, token: str | None
) -> SimilarOut:
    slot = slot_of(index, deepest(index) if layer is None else known_layer(index, layer), token)
    embedding = await embedding_of(site, index, subject, request.app.state.decode_limiter)
    likes = await run_in_threadpool(similar_images, index, subject, slot, embedding)
    return SimilarOut(
        **place_of(index, subject),
        layer=slot.layer,
        token=slot.token,
        by_embedding=_near(index, likes.by_embedding, site.json_urls),
        by_code=_near(index, likes.by_code, site.json_urls),
        why_no_embedding=likes.why_no_embedding,
        why_no_code=likes.why_no_code,
    )


def _near(index: OpenIndex, likes: Sequence[SimilarImage], urls: Urls) -> list[NearImageOut]:
    return [
        NearImageOut(
            image_id=like.row.image_id,
            cosine=like.cosine,
            url=urls.image(index.slug, like.row.image_id),
            thumb_url=urls.thumb(index.slug, like.row.image_id, index.version),
        )
        for like in likes
    ]


def _compare(
    site: AppState, index: OpenIndex, subject: Subject, other: str, layer: str | None, token: str | None
) -> ImageCompareOut:
    beside = other_picture(site, index, other.strip())
    what = shown(index, layer, token)
    found = code_overlaps(subject.codes, beside.subject.codes, index.slots_at(what.token, what.layer))
    return ImageCompareOut(
        **place_of(index, subject), other=str(beside.at.picture), layers=[_sides(each) for each in found]
    )


def _sides(found: CodeOverlap) -> SidesOut:
    return SidesOut(
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


def _alone(found: Sequence[ActiveFeature]) -> list[AloneOut]:
    return [AloneOut(feature=pair.feature, activation=pair.activation) for pair in found]
