"""From a request to the worker and back, without holding one of the server's threads while it works."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from PIL import Image

from app.engine.budget import BudgetSpentError, TimeBudget
from app.engine.errors import EncoderAbsentError, TooSlowError
from app.engine.fair_share import FairLimiter, out_of_turn
from app.engine.text_encoders import EmbeddedText
from app.engine.worker import Crop, EncodeRequest
from app.state import AppState, OpenIndex
from app.web.client_address import current_client
from scopeview.analysis.decomposition import Decomposition
from scopeview.images import ImageLimits, decode

Answer = TypeVar("Answer")

REFUSAL_S = 1.0
"""A refusal takes so long, and a place: who asks on without a pause must not keep the server busy with it."""


@dataclass(frozen=True)
class Picture:
    """A picture to take apart. Equal keys within an index are equal pictures; `read` gives it, decoded."""

    key: str
    read: Callable[[], Image.Image]


def indexed_picture(index: OpenIndex, image_id: int) -> Picture:
    """The index's own square of that image. Reading raises `NotFoundError` where there is none."""
    return Picture(f"{index.version}/{image_id}", lambda: kept_square(index.reader.thumb(image_id)))


def kept_square(webp: bytes) -> Image.Image:
    """A square that this program wrote itself."""
    return decode(webp, ImageLimits()).image


def crop_key(crop: Crop) -> str:
    """The picture's content: equal squares, from whomever, are taken apart once."""
    return hashlib.sha256(crop.tobytes()).hexdigest()


async def decompose(
    site: AppState,
    index: OpenIndex,
    pictures: Sequence[Picture],
    wanted: EncodeRequest,
    decoding: FairLimiter,
) -> list[Decomposition]:
    """In order; what is remembered is not worked out again. Raises `ProblemError`, and as `Picture.read`."""
    index_dir, worker = index.reader.index_dir, site.worker
    known = [worker.known(index_dir, picture.key, wanted) for picture in pictures]
    missing = [picture for picture, found in zip(pictures, known, strict=True) if found is None]
    if not missing:
        return [found for found in known if found is not None]
    refuse_absent(site, index)
    async with model_place(site):
        crops = await _cropped(site, index, missing, decoding)
        waiting = [
            worker.submit(index_dir, picture.key, crop, wanted)
            for picture, crop in zip(missing, crops, strict=True)
        ]
        fresh = iter(await answers(site, waiting))
    return [next(fresh) if found is None else found for found in known]


@asynccontextmanager
async def model_place(site: AppState) -> AsyncIterator[None]:
    """Whatever runs the model for a view is done within one. Raises a 429, or a 503 after too long a wait."""
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
    """Raises `EncoderAbsentError` where pictures are known to be none that can be taken apart."""
    why = site.worker.unavailable_reason(index.reader.index_dir)
    if why is not None:
        raise EncoderAbsentError(why)


async def answers(site: AppState, waiting: "Sequence[Future[Answer]]") -> list[Answer]:
    """Raises `TooSlowError` at the deadline; what still waits is then not worked out."""
    together = asyncio.gather(*map(asyncio.wrap_future, waiting))
    try:
        return await asyncio.wait_for(together, site.settings.upload_deadline_s)
    except TimeoutError:
        raise TooSlowError from None


async def vectors_of(site: AppState, index: OpenIndex, texts: Sequence[str]) -> list[EmbeddedText | str]:
    """Each text in CLIP's space, or why it has no place there, in words. Raises as `model_place`."""
    index_dir = index.reader.index_dir
    if all(site.texts.is_known(index_dir, text) for text in texts):
        return [await site.texts.embedded(index_dir, text) for text in texts]
    async with model_place(site):
        return await asyncio.gather(*(site.texts.embedded(index_dir, text) for text in texts))


async def cropped(site: AppState, index: OpenIndex, picture: Picture, decoding: FairLimiter) -> Crop:
    """The square that the model sees. Raises as `Picture.read`."""
    (crop,) = await _cropped(site, index, [picture], decoding)
    return crop


async def _cropped(
    site: AppState, index: OpenIndex, pictures: Sequence[Picture], decoding: FairLimiter
) -> list[Crop]:
    async with decoding:
        return await asyncio.wrap_future(site.worker.run_in_pool(partial(_crops, site, index, pictures)))


def _crops(site: AppState, index: OpenIndex, pictures: Sequence[Picture]) -> list[Crop]:
    """Decodes first: a picture that is not there must not load a model."""
    images = [picture.read() for picture in pictures]
    encoder = site.worker.encoder(index.reader.index_dir)
    return [encoder.crop(image) for image in images]
