"""Streams of images as the model sees them, in order from any position: an image source, or the world.

`world:7` draws the scenes of world 7 on request, without end; nothing is stored.
"""

import os
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, count, islice
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from indexer.prepare import Blocked, Preparer, ordered
from indexer.run_config import shard_list
from indexer.sources import BadSample, Sample, Source, open_source
from indexer.world import make_scene
from scopeview.errors import BadReason, InputError, TooManyBadImagesError
from scopeview.slots import parse_number
from scopeview.vision.preprocess import Preprocessing

WORLD = "world:"
_MAX_BAD_SHARE = 0.1
_MIN_SEEN = 100


class StreamedImage(NamedTuple):
    """An image; `next_sample` is the position from which the stream continues after it."""

    crop: UInt8[np.ndarray, "3 height width"]
    next_sample: int


@runtime_checkable
class ImageStream(Protocol):
    """A stream that yields the same images in the same order, from any start."""

    ref: str
    bad: Counter[BadReason]

    def identity(self) -> list[list[str]]:
        """Identifies the stream: JSON, compared when a run is resumed."""
        ...

    def images(self, start: int, *, repeat_from: int | None = None) -> Generator[StreamedImage, None, None]:
        """Yields images from sample `start` on; at the end, continues at `repeat_from` (None: stops)."""
        ...


class WorldStream:
    """The endless scenes of one world, drawn on the fly, `ahead` of them before they are used."""

    def __init__(self, seed: int, preprocessing: Preprocessing, *, ahead: int) -> None:
        self.ref = f"{WORLD}{seed}"
        self.bad: Counter[BadReason] = Counter()
        self._seed, self._preprocessing, self._ahead = seed, preprocessing, ahead

    def identity(self) -> list[list[str]]:
        return [[self.ref, ""]]

    def images(self, start: int, *, repeat_from: int | None = None) -> Generator[StreamedImage, None, None]:
        del repeat_from  # it has no end
        with _threads() as pool:
            yield from ordered(pool, self._draw, count(start), ahead=self._ahead)

    def _draw(self, number: int) -> StreamedImage:
        image = make_scene(self._seed, number).image
        return StreamedImage(self._preprocessing.crop(image), number + 1)


class SourceStream:
    """The images of an image source; unusable ones are left out and counted in `bad`."""

    def __init__(self, source: Source, preprocessing: Preprocessing, *, ahead: int) -> None:
        self.ref = str(source.root)
        self.bad: Counter[BadReason] = Counter()
        self._source, self._ahead = source, ahead
        self._prepare = Preparer(preprocessing, thumb_px=None)

    def identity(self) -> list[list[str]]:
        return shard_list(self._source)

    def images(self, start: int, *, repeat_from: int | None = None) -> Generator[StreamedImage, None, None]:
        """Numbers samples on from pass to pass. Raises `TooManyBadImagesError` over a share of 10 %."""
        n_seen = 0
        with _threads() as pool:
            samples = self._samples(start, repeat_from)
            prepared = ordered(pool, self._prepare, samples, ahead=self._ahead)
            for number, (sample, usable) in enumerate(prepared, start):
                n_seen += 1 if isinstance(sample, Blocked | Sample) else sample.n_samples
                if usable is not None:
                    yield StreamedImage(usable.crop, number + 1)
                elif isinstance(sample, BadSample):
                    self._count(sample, n_seen)

    def _count(self, sample: BadSample, n_seen: int) -> None:
        self.bad[sample.reason] += sample.n_samples
        n_bad = self.bad.total()
        if n_seen >= _MIN_SEEN and n_bad > _MAX_BAD_SHARE * n_seen:
            reasons = ", ".join(f"{reason} {n}" for reason, n in self.bad.most_common())
            raise TooManyBadImagesError(
                f"{self.ref}: {n_bad} of the first {n_seen} images cannot be used ({reasons}); "
                f"at most {_MAX_BAD_SHARE:.0%} may be bad"
            )

    def _samples(self, start: int, repeat_from: int | None) -> Iterator[Sample | BadSample]:
        """Yields samples from `start` on, skipping without decoding; later passes start at `repeat_from`."""
        first, skip = 0, start
        while True:
            n_samples = first
            for number, sample in enumerate(islice(self._one_pass(), first, None), first):
                n_samples = number + 1
                if number - first >= skip:
                    yield sample
            if repeat_from is None or n_samples <= repeat_from:
                return
            skip, first = max(0, skip - (n_samples - first)), repeat_from

    def _one_pass(self) -> Iterator[Sample | BadSample]:
        return chain.from_iterable(shard.samples() for shard in self._source.shards)


def open_stream(ref: str, preprocessing: Preprocessing, *, ahead: int) -> ImageStream:
    """Opens `world:SEED`, or a path that `indexer.sources` can open. Raises `InputError`."""
    if not ref.startswith(WORLD):
        return SourceStream(open_source(Path(ref)), preprocessing, ahead=ahead)
    seed = parse_number(ref.removeprefix(WORLD))
    if seed is None:
        raise InputError(f"{ref!r} names no world; expected such as {WORLD}0")
    return WorldStream(seed, preprocessing, ahead=ahead)


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="decode")
    try:
        yield pool
    finally:  # whoever asks no more does not wait for what was begun ahead
        pool.shutdown(cancel_futures=True)
