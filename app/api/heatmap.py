"""`GET /api/v1/{index}/{layer}/{feature}/heat`: heatmaps of one feature on indexed images."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.responses import ENCODER, ERRORS, FOUND
from app.api.schemas.base import Schema
from app.engine.worker import EncodeRequest
from app.params.dependencies import FeaturePath, IndexDep, LayerPath, SiteDep, slot_of
from app.services.images import thumbnail_ref
from app.services.model_requests import decompose
from app.state import OpenIndex
from app.urls import API
from app.web.errors import ProblemError, unprocessable
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.heatmap import feature_heatmaps, with_stored
from scopeview.errors import NotFoundError
from scopeview.slots import EMBED, Layer, Slot, Token, parse_number, token_number
from scopeview.store.records import ActiveFeature

MAX_IMAGES = 24
ImagesQuery = Annotated[str, Query(description=f"image ids separated by commas, at most {MAX_IMAGES}")]


def known_images(index: IndexDep, images: ImagesQuery) -> list[int]:
    """Returns each id once, without removed images. A malformed list is a 422, an unknown image a 404."""
    numbers = [parse_number(part) for part in images.split(",")]
    if None in numbers or len(numbers) > MAX_IMAGES:
        accepted = f"1 to {MAX_IMAGES} image ids separated by commas, for example 3,1,4"
        raise unprocessable("images", images, accepted)
    last, blocked = index.manifest.n_images - 1, index.reader.blocked()
    ids = list(dict.fromkeys(number for number in numbers if number is not None))
    if max(ids) > last:
        raise NotFoundError(f"{index.slug} has no image {max(ids)}; it has 0 to {last}")
    return [image_id for image_id in ids if image_id not in blocked]


ImagesDep = Annotated[list[int], Depends(known_images)]

router = APIRouter(tags=["index"])


class HeatOut(Schema):
    """One image. Each value is the activation that the SAE keeps at that token, 0 where it keeps none."""

    image_id: int
    cls: float
    patches: list[float] = Field(description="row by row from the top left, 16 x 16 of them")
    max: float = Field(description="maximum over all tokens, CLS included")


class HeatsOut(Schema):
    index: str
    layer: Layer
    feature: int
    stored: list[str] = Field(
        description="tokens whose activations the index stores; for any, the maximum and its position; values"
        " at all other tokens are approximate"
    )
    heats: list[HeatOut] = Field(
        description="in the order of the request, without images that the operator removed"
    )


@router.get(
    API + "/{index}/{layer}/{feature}/heat",
    summary="Heatmaps of a feature on images",
    description="Computed on request from the lossy thumbnail of each image, so values are approximate,"
    " except at the tokens that the index stores: see `stored`.",
    response_description=FOUND,
    responses={**ERRORS, **ENCODER},
)
async def heat(
    request: Request,
    response: Response,
    site: SiteDep,
    index: IndexDep,
    layer: LayerPath,
    feature: FeaturePath,
    images: ImagesDep,
) -> HeatsOut:
    _check_feature(index, layer, feature)
    refs = [thumbnail_ref(index, image_id) for image_id in images]
    decoding = request.app.state.decode_limiter
    decompositions = await decompose(site, index, refs, EncodeRequest((layer,)), decoding)
    response.headers["Cache-Control"] = "private, max-age=600"
    stored = await run_in_threadpool(stored_values, index, layer, feature, images)
    found = [
        heat_out(image_id, decomposition.layers[layer], feature, stored)
        for image_id, decomposition in zip(images, decompositions, strict=True)
    ]
    return HeatsOut(index=index.slug, layer=layer, feature=feature, stored=list(stored), heats=found)


StoredValues = Mapping[Token, Mapping[int, ActiveFeature]]
"""The feature's activations as the index stores them, by token and image id; only where the feature fires."""


def stored_values(index: OpenIndex, layer: Layer, feature: int, images: Sequence[int]) -> StoredValues:
    return {
        token: {
            image_id: found
            for (_, image_id), found in index.reader.activations_on(
                Slot(layer, token), [feature], images
            ).items()
        }
        for token in index.tokens(layer)
    }


def heat_out(image_id: int, layer: LayerDecomposition, feature: int, stored: StoredValues) -> HeatOut:
    at_tokens, peak = {}, None
    for token, by_image in stored.items():
        found, number = by_image.get(image_id), token_number(token)
        value = found.activation if found else 0.0
        if number is None:
            peak = value, (found.position or 0) if found else 0
        else:
            at_tokens[number] = value
    cls, *patches = with_stored(feature_heatmaps(layer, [feature])[0], at_tokens, peak).tolist()
    return HeatOut(image_id=image_id, cls=cls, patches=patches, max=max(cls, *patches))


def _check_feature(index: OpenIndex, layer: Layer, feature: int) -> None:
    slot_of(index, layer, None)
    if feature >= index.n_features(layer):
        raise NotFoundError(
            f"layer {layer} has no feature {feature}; it has 0 to {index.n_features(layer) - 1}"
        )
    if layer == EMBED:
        detail = "The layer embed has no patches: it is the whole image's embedding. Choose a block."
        raise ProblemError(422, "unprocessable", detail)
