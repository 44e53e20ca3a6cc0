"""From bytes to codes: admit, read, decode, crop, encode, keep. The one path of the form and the API."""

import asyncio
import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.clients import client_of
from app.inference.asking import answers, crop_key, refuse_absent
from app.problems import ProblemError, answer_for
from app.security import refuse_cross_site
from app.site import OpenIndex, Site
from app.upload.form import read_picture
from app.upload.incoming import Incoming
from app.upload.plain import refuse_all_but_a_picture
from app.upload.store import Kept
from app.worker import ASIDE, Crop, Wanted
from scopeview.apart import codes_of
from scopeview.images import ImageLimits, decode, encode_square
from scopeview.store.records import Code

Answer = TypeVar("Answer")


async def take_in(request: Request, site: Site, index: OpenIndex) -> Kept:
    """Raises `ProblemError` or `ImageError`; every outcome is counted."""
    incoming = Incoming.of(request)
    try:
        kept = await _take_in(Request(request.scope, incoming.receive), site, index)
    except Exception as error:
        site.metrics.uploads.labels(answer_for(error).error).inc()
        await incoming.discard(site.settings.max_upload_bytes)
        raise
    site.metrics.uploads.labels("kept").inc()
    return kept


async def _take_in(request: Request, site: Site, index: OpenIndex) -> Kept:
    settings = site.settings
    refuse_cross_site(request.headers, settings.base_url)
    refuse_absent(site, index)
    site.uploads.refuse_when_full()
    with site.worker.place(), site.metrics.queue.track_inprogress():
        site.upload_rate.refuse_too_many(client_of(request))  # whom a busy server sends away is not counted
        data = await read_picture(
            request, max_bytes=settings.max_upload_bytes, timeout_s=settings.upload_read_s
        )
        async with request.app.state.decode_limiter:
            crop = await _aside(site, partial(_crop, site, index, data))
        key = await _aside(site, partial(crop_key, crop))
        codes = await _codes(site, index, key, crop)
        picture = await _aside(site, partial(encode_square, crop))
        return await run_in_threadpool(
            site.uploads.keep, index.slug, index.version, picture, codes, crop_sha256=key
        )


async def _aside(site: Site, work: Callable[[], Answer]) -> Answer:
    return await asyncio.wrap_future(site.worker.aside(work))


def _crop(site: Site, index: OpenIndex, data: bytes) -> Crop:
    """Decodes first: a file that is no picture must not load a model."""
    settings = site.settings
    refuse_all_but_a_picture(data)
    decoded = decode(data, ImageLimits(settings.max_upload_bytes, settings.max_upload_pixels))
    return site.worker.encoder(index.reader.index_dir).crop(decoded.image)


async def _codes(site: Site, index: OpenIndex, key: str, crop: Crop) -> list[Code]:
    wanted = Wanted(tuple(index.layers), embedding=True)
    waiting = site.worker.submit(index.reader.index_dir, key, crop, wanted, urgent=True)
    (apart,) = await answers(site, [waiting])
    codes = await _aside(site, partial(codes_of, apart, index.manifest.slots))
    if not all(math.isfinite(pair.activation) for code in codes for pair in code.features):
        raise ProblemError(422, "non_finite", "The model gives no finite numbers for this picture.")
    return codes


def time_left_s(expires_s: float) -> int:
    return max(int(expires_s - time.time()), 0)


def decode_limiter() -> anyio.CapacityLimiter:
    """Made inside the running loop, by the lifespan."""
    return anyio.CapacityLimiter(ASIDE)
