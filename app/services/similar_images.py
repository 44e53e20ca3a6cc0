"""Similar images: by CLIP embedding, and by the features that fire at one slot.

For pages and JSON alike. Knows no HTML and no URL.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from app.engine.encoders import Vectors
from app.engine.fair_share import FairLimiter
from app.engine.worker import EncodeRequest
from app.services.images import ImageRef
from app.services.model_requests import decompose
from app.services.retrieval import images_near
from app.state import AppState, OpenIndex
from app.web.errors import ProblemError
from scopeview.slots import Slot
from scopeview.store.records import Code, ImageRow

N_SIMILAR = 24


@dataclass(frozen=True)
class SimilarImage:
    """One similar image, and its cosine with the image compared."""

    row: ImageRow
    cosine: float


@dataclass(frozen=True)
class SimilarImages:
    """Similar images, the most similar first; if a list is empty for a reason, the reason in words."""

    by_embedding: list[SimilarImage]
    by_code: list[SimilarImage]
    why_no_embedding: str | None = None
    why_no_code: str | None = None


async def embedding_of(
    site: AppState, index: OpenIndex, image: ImageRef, decoding: FairLimiter
) -> Vectors | str:
    """Returns CLIP's embedding, or in words why there is none; computes an upload's if not remembered."""
    if image.image_id is not None:
        found = await run_in_threadpool(index.reader.embedding, image.image_id)
        return found.astype("float32")
    try:
        request = EncodeRequest((), embedding=True)
        (decomposition,) = await decompose(site, index, [image], request, decoding)
    except ProblemError as error:
        return error.answer.detail
    assert decomposition.embedding is not None, "it was asked for"
    return decomposition.embedding


def similar_images(index: OpenIndex, image: ImageRef, slot: Slot, embedding: Vectors | str) -> SimilarImages:
    """Returns similar images, without the image itself and those that the block-list names."""
    code = code_at(image.codes, slot)
    return SimilarImages(
        [] if isinstance(embedding, str) else _by_embedding(index, embedding, image.image_id),
        _by_code(index, code, image.image_id) if code else [],
        embedding if isinstance(embedding, str) else None,
        None if code else "its features at this layer were not stored, or the index was rebuilt since",
    )


def code_at(codes: Sequence[Code], slot: Slot) -> Code | None:
    return next((code for code in codes if (code.layer, code.token) == (slot.layer, slot.token)), None)


def _by_embedding(index: OpenIndex, embedding: Vectors, without: int | None) -> list[SimilarImage]:
    return [
        SimilarImage(found.row, found.score)
        for found in images_near(index, embedding, limit=N_SIMILAR, without=without)
    ]


def _by_code(index: OpenIndex, code: Code, without: int | None) -> list[SimilarImage]:
    hidden = {*index.reader.blocked(), without}
    hits = index.reader.images_by_code(
        Slot(code.layer, code.token),
        [pair.feature for pair in code.features],
        [pair.activation for pair in code.features],
        limit=N_SIMILAR + min(len(hidden), N_SIMILAR),
    )
    shown = [hit for hit in hits if hit.number not in hidden][:N_SIMILAR]
    rows = index.reader.image_rows([hit.number for hit in shown])
    return [SimilarImage(rows[hit.number], hit.cosine) for hit in shown]
