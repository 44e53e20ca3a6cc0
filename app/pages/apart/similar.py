"""`.../similar`: images like a picture, by CLIP's embedding and by the features of a layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import APIRouter
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name, short, token_words
from app.inference.asking import take_apart
from app.inference.encoders import Vectors
from app.looking import LayerQuery, known_layer
from app.pages.apart.looking import deepest
from app.pages.apart.page import caching
from app.pages.apart.pictured import Pictured, PicturedDep
from app.pages.apart.subject import SubjectView, apart_frame, subject_view
from app.pages.parts import PictureView, picture_of
from app.pages.render import Page, render
from app.params import IndexDep, SiteDep, TokenQuery, slot_of
from app.problems import ProblemError
from app.search.finding import images_near
from app.site import OpenIndex, Site
from app.worker import Wanted
from scopeview.slots import Slot
from scopeview.store.records import Code, ImageRow

N_SIMILAR = 24

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


@dataclass(frozen=True)
class Likes:
    """Images like a picture, most alike first, and why a list is empty."""

    by_embedding: list[tuple[ImageRow, float]]
    by_code: list[tuple[ImageRow, float]]
    why_no_embedding: str | None = None
    why_no_code: str | None = None


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
    embedding = await embedding_of(site, index, pictured, request.app.state.decode_limiter)
    return await run_in_threadpool(_answer, request, site, index, pictured, slot, embedding)


async def embedding_of(
    site: Site, index: OpenIndex, pictured: Pictured, decoding: anyio.CapacityLimiter
) -> Vectors | str:
    """CLIP's, or why there is none, in words: an upload's is worked out when it is not remembered."""
    image_id = pictured.subject.image_id
    if image_id is not None:
        found = await run_in_threadpool(index.reader.embedding, image_id)
        return found.astype("float32")
    try:
        wanted = Wanted((), embedding=True)
        (apart,) = await take_apart(site, index, [pictured.subject.picture], wanted, decoding)
    except ProblemError as error:
        return error.answer.detail
    assert apart.embedding is not None, "it was asked for"
    return apart.embedding


def _answer(
    request: Request, site: Site, index: OpenIndex, pictured: Pictured, slot: Slot, embedding: Vectors | str
) -> Response:
    return render(request, _page(request, site, index, pictured, slot, embedding), headers=caching(pictured))


def likes_of(index: OpenIndex, pictured: Pictured, slot: Slot, embedding: Vectors | str) -> Likes:
    """The picture itself, and what the block-list names, is left out."""
    image_id = pictured.subject.image_id
    code = code_at(pictured.subject.codes, slot)
    near = (
        [] if isinstance(embedding, str) else images_near(index, embedding, limit=N_SIMILAR, without=image_id)
    )
    return Likes(
        [(found.row, found.score) for found in near],
        _by_code(index, code, image_id) if code else [],
        embedding if isinstance(embedding, str) else None,
        None if code else "its features at this layer were not kept, or the index was rebuilt since",
    )


def code_at(codes: Sequence[Code], slot: Slot) -> Code | None:
    return next((code for code in codes if (code.layer, code.token) == (slot.layer, slot.token)), None)


def _by_code(index: OpenIndex, code: Code, without: int | None) -> list[tuple[ImageRow, float]]:
    hidden = {*index.reader.blocked(), without}
    hits = index.reader.images_by_code(
        Slot(code.layer, code.token),
        [pair.feature for pair in code.features],
        [pair.activation for pair in code.features],
        limit=N_SIMILAR + min(len(hidden), N_SIMILAR),
    )
    shown = [hit for hit in hits if hit.number not in hidden][:N_SIMILAR]
    rows = index.reader.image_rows([hit.number for hit in shown])
    return [(rows[hit.number], hit.cosine) for hit in shown]


def _page(
    request: Request, site: Site, index: OpenIndex, pictured: Pictured, slot: Slot, embedding: Vectors | str
) -> SimilarPage:
    at, likes = pictured.at, likes_of(index, pictured, slot, embedding)
    one, other = ({row.image_id for row, _ in found} for found in (likes.by_embedding, likes.by_code))
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
        by_embedding=[_view(index, pictured, row, score, other) for row, score in likes.by_embedding],
        by_code=[_view(index, pictured, row, score, one) for row, score in likes.by_code],
        n_both=len(one & other),
        why_no_embedding=likes.why_no_embedding,
        why_no_code=likes.why_no_code,
    )


def _view(index: OpenIndex, pictured: Pictured, row: ImageRow, score: float, others: set[int]) -> SimilarView:
    beside: dict[str, Any] = {"with": row.image_id}
    return SimilarView(
        image_id=row.image_id,
        picture=picture_of(index, row),
        caption=short(row.caption, 80),
        cosine=score,
        both=row.image_id in others,
        compare=pictured.at.url("compare", **beside),
    )
