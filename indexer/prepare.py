"""Prepares a sample's bytes for the model and the index, in worker threads, keeping the samples' order.

Pillow decodes and resizes outside Python's lock, so threads share the work without copying images.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8

from indexer.shard_writer import ImageEntry
from indexer.sources import BadSample, Sample
from indexer.sources.sample import MAX_IMAGE_BYTES
from scopeview.blocklist import Rules
from scopeview.errors import BadReason, ImageError
from scopeview.images import ImageLimits, decode, thumbnail
from scopeview.vision.preprocess import Preprocessing

IMAGE_LIMITS = ImageLimits(max_bytes=MAX_IMAGE_BYTES)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Prepared(NamedTuple):
    """One decodable image."""

    entry: ImageEntry
    crop: UInt8[np.ndarray, "3 height width"]  # the square the model sees
    thumb: bytes  # WebP of that square
    note: BadSample | None = None  # what is odd about it


class Blocked(NamedTuple):
    """A blocked image: it is not decoded, and only these facts are kept."""

    key: str
    sha256: str
    rule: str  # of the block-list


class Preparer:
    """Decodes and crops one sample and makes its thumbnail. Shared by all threads."""

    def __init__(
        self, preprocessing: Preprocessing, thumb_px: int | None, rules: Rules | None = None
    ) -> None:
        """If `thumb_px` is None, thumbnails are empty bytes."""
        self._preprocessing = preprocessing
        self._thumb_px = thumb_px
        self._rules = rules or Rules()

    def __call__(self, sample: Sample | BadSample) -> tuple[Sample | BadSample | Blocked, Prepared | None]:
        """Returns the sample and its prepared image; if left out, a `BadSample` or `Blocked` and None."""
        if isinstance(sample, BadSample):
            return sample, None
        sha256 = hashlib.sha256(sample.image).hexdigest()
        rule = self._rules.blocking(sha256, sample.source_url)
        if rule is not None:
            return Blocked(sample.key, sha256, rule), None
        try:
            return sample, self._prepare(sample, sha256)
        except ImageError as error:
            return BadSample(sample.key, error.reason, str(error)), None

    def _prepare(self, sample: Sample, sha256: str) -> Prepared:
        decoded = decode(sample.image, IMAGE_LIMITS, self._preprocessing.grey_16_bit)
        crop = self._preprocessing.crop(decoded.image)
        entry = ImageEntry(
            key=sample.key,
            caption=sample.caption,
            source_url=sample.source_url,
            label=sample.label,
            width=decoded.width,
            height=decoded.height,
            sha256=sha256,
            punsafe=sample.punsafe,
            pwatermark=sample.pwatermark,
        )
        thumb = b"" if self._thumb_px is None else thumbnail(crop, self._thumb_px)
        return Prepared(entry, crop, thumb, self._note(sample.key) if decoded.is_grey_16_bit else None)

    def _note(self, key: str) -> BadSample:
        how = {"scaled": "scaled to 8 bits", "clipped": "cut off at 255"}[self._preprocessing.grey_16_bit]
        return BadSample(key, BadReason.GREY_16_BIT, f"the image is used, {how}")


def ordered(
    pool: Executor, function: Callable[[_In], _Out], items: Iterable[_In], *, ahead: int
) -> Iterator[_Out]:
    """`map` over a pool, in order, that submits at most `ahead` items beyond those the caller asked for.

    If the caller stops early, items that have not started are cancelled.
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
    """Yields lists of `size` items in order; the last may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
