"""Requests to the worker that hold no thread of the server while they wait."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from app.engine.budget import BudgetSpentError, TimeBudget
from app.engine.errors import EncoderAbsentError, TooSlowError
from app.engine.fair_share import FairLimiter, out_of_turn
from app.engine.text_encoders import EmbeddedText
from app.engine.worker import Crop, EncodeRequest
from app.services.images import ImageRef
from app.state import AppState, OpenIndex
from app.web.client_address import current_client
from scopeview.analysis.decomposition import Decomposition

Answer = TypeVar("Answer")

REFUSAL_S = 1.0
"""How long a refusal takes, and keeps a place: a client that never pauses must not keep the server busy."""


async def decompose(
    site: AppState,
    index: OpenIndex,
    images: Sequence[ImageRef],
    request: EncodeRequest,
    decoding: FairLimiter,
) -> list[Decomposition]:
    """Decomposes images, in order; remembered ones are not computed again.

    Raises `ProblemError`, and as `ImageRef.read`.
    """
    index_dir, worker = index.reader.index_dir, site.worker
    known = [worker.known(index_dir, image.key, request) for image in images]
    missing = [image for image, found in zip(images, known, strict=True) if found is None]
    if not missing:
        return [found for found in known if found is not None]
    refuse_absent(site, index)
    async with model_place(site):
        crops = await _cropped(site, index, missing, decoding)
        waiting = [
            worker.submit(index_dir, image.key, crop, request)
            for image, crop in zip(missing, crops, strict=True)
        ]
        fresh = iter(await answers(site, waiting))
    return [next(fresh) if found is None else found for found in known]


@asynccontextmanager
async def model_place(site: AppState) -> AsyncIterator[None]:
    """Holds a place for a view that runs the model. Raises a 429, or a 503 after too long a wait."""
    client = current_client()
    async with out_of_turn():
        try:
            async with asyncio.timeout(site.settings.upload_deadline_s):
                await site.model_places.acquire(client)
        except TimeoutError:
            raise TooSlowError from None
        try:
            await _refuse_spent(site.worker.budget, client)
            yield
        finally:
            site.model_places.release(client)


async def _refuse_spent(budget: TimeBudget, client: str) -> None:
    try:
        budget.refuse_spent(client)
    except BudgetSpentError:
        await asyncio.sleep(REFUSAL_S)
        raise


def refuse_absent(site: AppState, index: OpenIndex) -> None:
    """Raises `EncoderAbsentError` if images are known to be impossible to analyze."""
    why = site.worker.unavailable_reason(index.reader.index_dir)
    if why is not None:
        raise EncoderAbsentError(why)


async def answers(site: AppState, waiting: "Sequence[Future[Answer]]") -> list[Answer]:
    """Returns the results. Raises `TooSlowError` at the deadline; what still waits is then not computed."""
    together = asyncio.gather(*map(asyncio.wrap_future, waiting))
    try:
        return await asyncio.wait_for(together, site.settings.upload_deadline_s)
    except TimeoutError:
        raise TooSlowError from None


async def vectors_of(site: AppState, index: OpenIndex, texts: Sequence[str]) -> list[EmbeddedText | str]:
    """Returns each text in CLIP's space, or in words why it has no place there. Raises as `model_place`."""
    index_dir = index.reader.index_dir
    if all(site.texts.is_known(index_dir, text) for text in texts):
        return [await site.texts.embedded(index_dir, text) for text in texts]
    async with model_place(site):
        return await asyncio.gather(*(site.texts.embedded(index_dir, text) for text in texts))


async def cropped(site: AppState, index: OpenIndex, image: ImageRef, decoding: FairLimiter) -> Crop:
    """Returns the square that the model sees. Raises as `ImageRef.read`."""
    (crop,) = await _cropped(site, index, [image], decoding)
    return crop


async def _cropped(
    site: AppState, index: OpenIndex, images: Sequence[ImageRef], decoding: FairLimiter
) -> list[Crop]:
    async with decoding:
        return await asyncio.wrap_future(site.worker.run_in_pool(partial(_crops, site, index, images)))


def _crops(site: AppState, index: OpenIndex, images: Sequence[ImageRef]) -> list[Crop]:
    """Crops images. Decodes them first: a missing image must not load a model."""
    decoded = [image.read() for image in images]
    encoder = site.worker.encoder(index.reader.index_dir)
    return [encoder.crop(each) for each in decoded]
