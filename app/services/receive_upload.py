"""Receives an upload: admit, read, decode, crop, encode, store. Shared by the form and the API.

A slow sender holds one of its own few places, and nobody else's; only images that have arrived take a place
where work is done. When the sender leaves, the work ends.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.engine.errors import EncoderAbsentError, TooSlowError
from app.engine.worker import Crop, EncodeRequest
from app.formatting import moment
from app.services.model_requests import answers, refuse_absent
from app.state import AppState, OpenIndex
from app.uploads.decoding import DecodedCrop
from app.uploads.image_validation import validate_image
from app.uploads.multipart import Pace, read_image
from app.uploads.request_body import IncomingBody
from app.uploads.store import NewUpload, Upload
from app.urls import Urls
from app.web.caching import PRIVATE
from app.web.client_address import client_of
from app.web.errors import ProblemError, answer_for
from app.web.security import refuse_cross_site
from scopeview.analysis.decomposition import codes_of
from scopeview.images import ImageLimits, encode_lossless
from scopeview.store.records import Code
from scopeview.vision.preprocess import Preprocessing

Answer = TypeVar("Answer")


async def receive_upload(request: Request, site: AppState, index: OpenIndex) -> NewUpload:
    """Receives an upload, and counts every outcome. Raises `ProblemError` or `ImageError`."""
    incoming = IncomingBody.of(request)
    try:
        kept = await _receive(Request(request.scope, incoming.receive), incoming, site, index)
    except Exception as error:
        site.metrics.uploads.labels(answer_for(error).error).inc()
        await incoming.discard(site.settings.max_upload_bytes)
        raise
    site.metrics.uploads.labels("kept").inc()
    return kept


async def _receive(request: Request, incoming: IncomingBody, site: AppState, index: OpenIndex) -> NewUpload:
    client = client_of(request)
    refuse_cross_site(request.headers, site.settings.base_url)
    refuse_absent(site, index)
    await run_in_threadpool(site.uploads.refuse_when_full)  # it may have to look at all of them
    site.worker.refuse_when_full()
    with site.upload_places.place(client):
        site.upload_rate.refuse_too_many(client)  # whom a busy server sends away is not counted
        data = await read_image(request, Pace.of(site.settings))
        with site.worker.place(), site.metrics.queue.track_inprogress():
            return await _while_sender_stays(incoming, _analyze(site, index, client, data))


async def _analyze(site: AppState, index: OpenIndex, client: str, data: bytes) -> NewUpload:
    await _pool(site, partial(validate_image, data))
    sha256 = await _pool(site, partial(_accepted, site, lambda: hashlib.sha256(data).hexdigest()))
    crop, grey_16_bit = await _decoded(site, index, client, data)
    key = await _pool(site, partial(_accepted, site, partial(crop_key, crop)))
    await _pool(site, partial(site.worker.encoder, index.reader.index_dir))  # the first one loads the model
    codes = await _codes(site, index, key, crop)
    webp = await _pool(site, partial(encode_lossless, crop))
    keep = partial(site.uploads.keep, crop_sha256=key, sha256=sha256, grey_16_bit=grey_16_bit)
    return await run_in_threadpool(keep, index.slug, index.version, webp, codes)


def _accepted(site: AppState, sha256: Callable[[], str]) -> str:
    """Returns the sha256. Raises a 403 if the block-list names it, before the model has work with it."""
    found = sha256()
    site.uploads.refuse_blocked(found)
    return found


async def _while_sender_stays(incoming: IncomingBody, work: Coroutine[Any, Any, Answer]) -> Answer:
    """Runs the work; cancels it, and raises a 400, if the connection ends before it is done."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(incoming.left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ProblemError(400, "disconnected", "The connection ended before the image was analyzed.")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait({working, leaving})


async def _decoded(site: AppState, index: OpenIndex, client: str, data: bytes) -> DecodedCrop:
    """Decodes the image. Raises `ImageError`, and a 503 if too many others are before it."""
    settings = site.settings
    limits = ImageLimits(settings.max_upload_bytes, settings.max_upload_pixels)
    try:
        async with asyncio.timeout(settings.upload_deadline_s), site.decode_places.place(client):
            return await site.decoder(data, limits, _preprocessing(index))
    except TimeoutError:
        raise TooSlowError from None


def _preprocessing(index: OpenIndex) -> Preprocessing:
    try:
        return Preprocessing.from_dict(index.manifest.model.preprocessing)
    except TypeError:
        raise EncoderAbsentError("this index does not record the preprocessing of its model") from None


async def _pool(site: AppState, work: Callable[[], Answer]) -> Answer:
    return await asyncio.wrap_future(site.worker.run_in_pool(work))


async def _codes(site: AppState, index: OpenIndex, key: str, crop: Crop) -> list[Code]:
    request = EncodeRequest(tuple(index.layers), embedding=True)
    waiting = site.worker.submit(index.reader.index_dir, key, crop, request, urgent=True)
    (decomposition,) = await answers(site, [waiting])
    codes = await _pool(site, partial(codes_of, decomposition, index.manifest.slots))
    if not all(math.isfinite(pair.activation) for code in codes for pair in code.features):
        raise ProblemError(422, "non_finite", "The model returned non-finite values for this image.")
    return codes


def crop_key(crop: Crop) -> str:
    """Returns a hash of the content: equal squares, from any sender, go through the model once."""
    return hashlib.sha256(crop.tobytes()).hexdigest()


def upload_fields(upload: Upload, urls: Urls) -> dict[str, Any]:
    """Returns the JSON fields of an upload."""
    return {
        "index": upload.index,
        "upload_id": upload.upload_id,
        "url": urls.upload(upload.index, upload.upload_id),
        "picture_url": urls.upload_image(upload.index, upload.upload_id),
        "created": moment(upload.created_s),
        "expires": moment(upload.expires_s),
        "grey_16_bit": upload.grey_16_bit,
        "codes": [asdict(code) for code in upload.codes],
    }


def created_response(kept: NewUpload, urls: Urls) -> JSONResponse:
    """Returns a 201, the only answer with the delete key, for a sender that does not ask for a page."""
    body = {**upload_fields(kept.upload, urls), "delete_key": kept.delete_key}
    return JSONResponse(body, status_code=201, headers={**PRIVATE, "Location": body["url"]})


def time_left_s(expires_s: float) -> int:
    return max(int(expires_s - time.time()), 0)
