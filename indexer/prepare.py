"""From a sample's bytes to what the model and the index need of it, in worker threads, in the sample's order.

Pillow decodes and resizes outside Python's lock, so threads share the work without copying pictures.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8

from indexer.shard_output import ImageEntry
from indexer.sources import BadSample, Sample
from scopeview.errors import ImageError
from scopeview.images import ImageLimits, decode, thumbnail
from scopeview.preprocess import Preprocessing

LIMITS = ImageLimits(max_bytes=64 * 1024**2)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Prepared(NamedTuple):
    """One decodable image."""

    entry: ImageEntry
    crop: UInt8[np.ndarray, "3 height width"]  # the square the model sees
    thumb: bytes  # WebP of that square


class Preparer:
    """Decodes, crops and makes the thumbnail of one sample. Shared by all threads."""

    def __init__(self, preprocessing: Preprocessing, thumb_px: int | None) -> None:
        """Without `thumb_px` no thumbnails are made: they are empty."""
        self._preprocessing = preprocessing
        self._thumb_px = thumb_px

    def __call__(self, sample: Sample | BadSample) -> tuple[Sample | BadSample, Prepared | None]:
        """The sample with what was made of it; a `BadSample` with None when it cannot be used."""
        if isinstance(sample, BadSample):
            return sample, None
        try:
            return sample, self._prepare(sample)
        except ImageError as error:
            return BadSample(sample.key, error.reason, str(error)), None

    def _prepare(self, sample: Sample) -> Prepared:
        decoded = decode(sample.image, LIMITS)
        crop = self._preprocessing.crop(decoded.image)
        entry = ImageEntry(
            key=sample.key,
            caption=sample.caption,
            source_url=sample.source_url,
            label=sample.label,
            width=decoded.width,
            height=decoded.height,
            sha256=hashlib.sha256(sample.image).hexdigest(),
            punsafe=sample.punsafe,
            pwatermark=sample.pwatermark,
        )
        thumb = b"" if self._thumb_px is None else thumbnail(crop, self._thumb_px)
        return Prepared(entry, crop, thumb)


def ordered(
    pool: Executor, function: Callable[[_In], _Out], items: Iterable[_In], *, ahead: int
) -> Iterator[_Out]:
    """`map` over a pool that never holds more than `ahead` items that were not asked for yet.

    When it is left early, what has not begun is not begun.
    """
    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def batched(items: Iterable[_In], size: int) -> Iterator[list[_In]]:
    """Lists of `size` items in order; the last may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
