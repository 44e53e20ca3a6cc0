"""`.../similar`: images like a picture, by CLIP's embedding and by the features of a layer."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.alike import Like, embedding_of, likes_of
from app.formatting import layer_name, short, token_words
from app.inference.encoders import Vectors
from app.looking import LayerQuery, known_layer
from app.pages.apart.looking import deepest
from app.pages.apart.page import caching
from app.pages.apart.pictured import Pictured, PicturedDep
from app.pages.apart.subject import SubjectView, apart_frame, subject_view
from app.pages.parts import PictureView, picture_of
from app.pages.render import Page, render
from app.params import IndexDep, SiteDep, TokenQuery, slot_of
from app.site import OpenIndex, Site
from scopeview.slots import Slot

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class SimilarView:
    """One image that is like the picture."""

    image_id: int
    picture: PictureView
    caption: str
    cosine: float
    both: bool  # it is in the other list too
    compare: str  # the two side by side


@dataclass(frozen=True)
class SimilarPage(Page):
    template = "apart_similar.html"

    subject: SubjectView
    where: str  # `L6, at the CLS token, which stands for the whole picture`
    by_embedding: list[SimilarView]
    by_code: list[SimilarView]
    n_both: int  # images that are in both lists
    why_no_embedding: str | None  # why none are compared by it
    why_no_code: str | None


@router.get("/{index}/{kind}/{picture}/similar", name="apart_similar")
async def similar(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    pictured: PicturedDep,
    layer: LayerQuery = None,
    token: TokenQuery = None,
) -> Response:
    slot = slot_of(index, deepest(index) if layer is None else known_layer(index, layer), token)
    embedding = await embedding_of(site, index, pictured.subject, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, pictured, slot, embedding)


def _answer(
    request: Request, site: Site, index: OpenIndex, pictured: Pictured, slot: Slot, embedding: Vectors | str
) -> Response:
    return render(request, _page(request, site, index, pictured, slot, embedding), headers=caching(pictured))


def _page(
    request: Request, site: Site, index: OpenIndex, pictured: Pictured, slot: Slot, embedding: Vectors | str
) -> SimilarPage:
    at, likes = pictured.at, likes_of(index, pictured.subject, slot, embedding)
    one, other = ({like.row.image_id for like in found} for found in (likes.by_embedding, likes.by_code))
    query = {"layer": slot.layer, "token": slot.token}
    words = token_words(slot.layer, slot.token, index.manifest.model.grid_size)
    return SimilarPage(
        frame=apart_frame(
            index,
            at,
            "similar images",
            layer=slot.layer,
            tokens=slot.token,
            link=lambda layer, token: at.url("similar", layer=layer, token=token),
            json_url=at.url("similar", api=True, **query),
        ),
        subject=subject_view(request, site, index, pictured, "similar", layer=slot.layer, tokens=slot.token),
        where=f"{layer_name(slot.layer)}, {words}",
        by_embedding=[_view(index, pictured, like, other) for like in likes.by_embedding],
        by_code=[_view(index, pictured, like, one) for like in likes.by_code],
        n_both=len(one & other),
        why_no_embedding=likes.why_no_embedding,
        why_no_code=likes.why_no_code,
    )


def _view(index: OpenIndex, pictured: Pictured, like: Like, others: set[int]) -> SimilarView:
    row = like.row
    beside: dict[str, Any] = {"with": row.image_id}
    return SimilarView(
        image_id=row.image_id,
        picture=picture_of(index, row),
        caption=short(row.caption, 80),
        cosine=like.cosine,
        both=row.image_id in others,
        compare=pictured.at.url("compare", **beside),
    )
