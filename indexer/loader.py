"""From shards to batches that a device can take: decoded by many workers, gathered and staged by one thread.

With a CPU, workers are threads, since Pillow does nearly all the work. With a GPU, which takes thousands of
images a second, they are processes, since one interpreter cannot hand out that many. A batch holds images of
one shard only and always has the same shape. Knows nothing of models or outputs.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from indexer.prepare import Blocked, Prepared, batched, ordered
from indexer.shard_writer import ImageEntry
from indexer.sources import BadSample, Sample, Shard
from indexer.sources.sample import Parts
from scopeview.timers import Stopwatch

_Item = TypeVar("_Item")
_Outcome = tuple[Sample | BadSample | Blocked, Prepared | None]
Prepare = Callable[[Sample | BadSample], _Outcome]
_CHUNK = 16


@dataclass
class ImageBatch:
    """The next images of one shard, with their reports. The last batch of a shard has `is_last` set."""

    shard: int
    entries: list[ImageEntry] = field(default_factory=list)
    thumbs: list[bytes] = field(default_factory=list)
    bad: list[BadSample] = field(default_factory=list)
    notes: list[BadSample] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    parts: Counter[Parts] = field(default_factory=Counter)
    """Counts, over the images used, where their parts were found."""
    n_seen: int = 0
    is_last: bool = False
    crops: UInt8[Tensor, "batch 3 height width"] | None = None  # full, filled up with black; None without any

    def take(self, sample: Sample | BadSample | Blocked, prepared: Prepared | None) -> None:
        """Adds one sample to the batch."""
        self.n_seen += 1
        if isinstance(sample, BadSample):
            self.bad.append(sample)
        elif isinstance(sample, Blocked):
            self.blocked.append(sample)
        elif sample.note is not None:
            self.notes.append(_note(sample))
        if prepared is not None:
            if isinstance(sample, Sample):
                self.parts[sample.parts] += 1
            self.entries.append(prepared.entry)
            self.thumbs.append(prepared.thumb)
            if prepared.note is not None:
                self.notes.append(prepared.note)


class BatchLoader:
    """Reads shards and cuts them into batches, with one pool of decoding threads."""

    def __init__(
        self,
        prepare: Prepare,
        batch_size: int,
        *,
        pin: bool = False,
        n_workers: int | None = None,
        processes: bool = False,
    ) -> None:
        """`pin` puts batches into page-locked memory, from which a CUDA device copies without the CPU.

        `n_workers` None: one per core. Workers are threads unless `processes` is set.
        """
        self.watch = Stopwatch()
        self._prepare, self._batch_size, self._pin = prepare, batch_size, pin
        self._pool: Executor = (
            ProcessPoolExecutor(
                n_workers, multiprocessing.get_context("forkserver"), _begin_worker, (prepare,)
            )
            if processes
            else ThreadPoolExecutor(n_workers or os.cpu_count(), thread_name_prefix="decode")
        )

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def batches(self, number: int, shard: Shard, limit: int | None) -> Iterator[ImageBatch]:
        """Batches of a shard's first `limit` samples (None: all); at least one, and the last is marked."""
        samples = islice(shard.samples(), limit)
        batch, crops = ImageBatch(number), list[UInt8[np.ndarray, "3 height width"]]()
        for sample, prepared in self._prepared(samples):
            if len(crops) == self._batch_size:
                yield self._staged(batch, crops)
                batch, crops = ImageBatch(number), []
            batch.take(sample, prepared)
            if prepared is not None:
                crops.append(prepared.crop)
        batch.is_last = True
        yield self._staged(batch, crops)

    def _prepared(self, samples: Iterator[Sample | BadSample]) -> Iterator[_Outcome]:
        """Prepared samples in order. Processes get several at a time, since each message has a cost."""
        if not isinstance(self._pool, ProcessPoolExecutor):
            yield from ordered(self._pool, self._timed, samples, ahead=2 * self._batch_size)
            return
        chunks = batched(samples, _CHUNK)
        for seconds, outcomes in ordered(self._pool, _work, chunks, ahead=2 * self._batch_size // _CHUNK + 2):
            self.watch.add("decode", seconds)
            yield from outcomes

    def _timed(self, sample: Sample | BadSample) -> _Outcome:
        with self.watch.span("decode"):
            return self._prepare(sample)

    def _staged(self, batch: ImageBatch, crops: list[UInt8[np.ndarray, "3 height width"]]) -> ImageBatch:
        """Pads the crops to a full batch: matrix products round differently at other sizes, and an image's
        codes must not depend on which batch was its shard's last."""
        if crops:
            full = torch.zeros((self._batch_size, *crops[0].shape), dtype=torch.uint8, pin_memory=self._pin)
            np.stack(crops, out=full.numpy()[: len(crops)])
            batch.crops = full
        return batch


_prepare_here: Prepare
"""The worker process's preparer, set when the process starts."""


def _begin_worker(prepare: Prepare) -> None:
    global _prepare_here
    _prepare_here = prepare
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the process that gave the work


def _work(samples: list[Sample | BadSample]) -> tuple[float, list[_Outcome]]:
    """The seconds taken and the outcome of each sample; the original bytes are not sent back."""
    started = time.perf_counter()
    outcomes = [_prepare_here(sample) for sample in samples]
    lean = [
        (replace(sample, image=b"") if isinstance(sample, Sample) else sample, prepared)
        for sample, prepared in outcomes
    ]
    return time.perf_counter() - started, lean


def prefetch(items: Iterable[_Item], depth: int) -> Iterator[_Item]:
    """Yields the same items, produced by a separate thread that stays at most `depth` items ahead."""
    rest, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as pool:
        waiting: deque[Future[Any]] = deque(pool.submit(next, rest, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, rest, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()


def _note(sample: Sample) -> BadSample:
    assert sample.note is not None
    return BadSample(sample.key, sample.note, "the image is used, without what could not be read")
