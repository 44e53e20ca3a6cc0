"""`.../similar`: similar images, by embedding and by the features of a layer."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.engine.encoders import Vectors
from app.formatting import layer_name, short, token_words
from app.pages.cards import ImageView, image_view
from app.pages.image.activations import cache_headers
from app.pages.image.header import HeaderView, header_view, image_frame
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, SiteDep, TokenQuery, slot_of
from app.params.view_params import LayerQuery, deep_layer
from app.services.images import ImageDep, ImageRef
from app.services.similar_images import SimilarImage, embedding_of, similar_images
from app.state import AppState, OpenIndex
from scopeview.slots import Slot

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class SimilarView:
    """One similar image."""

    image_id: int
    image: ImageView
    caption: str
    cosine: float
    both: bool  # it is in the other list too
    compare: str  # the two side by side


@dataclass(frozen=True)
class SimilarPage(Page):
    template = "image/similar.html"

    header: HeaderView
    where: str  # `L6, at the CLS token, which stands for the whole image`
    by_embedding: list[SimilarView]
    by_code: list[SimilarView]
    n_both: int  # images that are in both lists
    why_no_embedding: str | None  # why none are compared by it
    why_no_code: str | None


@router.get("/{index}/{kind}/{image_id}/similar", name="image_similar")
async def similar(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    layer: LayerQuery = None,
    token: TokenQuery = None,
) -> Response:
    slot = slot_of(index, deep_layer(index, layer), token)
    embedding = await embedding_of(site, index, image, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, image, slot, embedding)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    slot: Slot,
    embedding: Vectors | str,
) -> Response:
    return render(request, _page(request, site, index, image, slot, embedding), headers=cache_headers(image))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    slot: Slot,
    embedding: Vectors | str,
) -> SimilarPage:
    at, found = image.address, similar_images(index, image, slot, embedding)
    one, other = ({like.row.image_id for like in found} for found in (found.by_embedding, found.by_code))
    query = {"layer": slot.layer, "token": slot.token}
    words = token_words(slot.layer, slot.token, index.manifest.model.grid_size)
    return SimilarPage(
        frame=image_frame(
            index,
            at,
            "similar images",
            layer=slot.layer,
            tokens=slot.token,
            link=lambda layer, token: at.url("similar", layer=layer, token=token),
            json_url=at.url("similar", api=True, **query),
        ),
        header=header_view(request, site, index, image, "similar", layer=slot.layer, tokens=slot.token),
        where=f"{layer_name(slot.layer)}, {words}",
        by_embedding=[_view(index, image, like, other) for like in found.by_embedding],
        by_code=[_view(index, image, like, one) for like in found.by_code],
        n_both=len(one & other),
        why_no_embedding=found.why_no_embedding,
        why_no_code=found.why_no_code,
    )


def _view(index: OpenIndex, image: ImageRef, like: SimilarImage, others: set[int]) -> SimilarView:
    row = like.row
    query: dict[str, Any] = {"with": row.image_id}
    return SimilarView(
        image_id=row.image_id,
        image=image_view(index, row),
        caption=short(row.caption, 80),
        cosine=like.cosine,
        both=row.image_id in others,
        compare=image.address.url("compare", **query),
    )
