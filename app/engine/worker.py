"""The inference worker: one thread that decomposes images in small batches, with bounds and deadlines.

Pages do not run here. Results are remembered by image, so that another feature, patch or group of the same
image costs no forward pass. When the device fails, the waiting requests get a 503 and the model is loaded
again. A thread that hangs in the device, or died, is abandoned and another takes over. All of these threads
give way to those that make pages.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from app.engine.budget import TimeBudget
from app.engine.decomposition_cache import DecompositionCache
from app.engine.encoders import Crop, EncoderFactory, EncoderProtocol, lazy_encoders, scopeview_encoders
from app.engine.errors import BusyError, DeviceFailedError, EncoderAbsentError, TooSlowError
from app.engine.fair_queue import FairQueue, Urgency
from app.engine.fair_share import TooManyAtOnceError
from app.engine.jobs import CallJob, EncodeRequest, ImageJob, Job, can_batch, is_pending, resolve
from app.web.client_address import current_client
from app.web.errors import ProblemError
from scopeview.analysis.decomposition import Decomposition

__all__ = [
    "BusyError",
    "Crop",
    "DeviceFailedError",
    "EncodeRequest",
    "EncoderAbsentError",
    "EncoderFactory",
    "EncoderProtocol",
    "TooSlowError",
    "Worker",
    "scopeview_encoders",
]

log = logging.getLogger("scopeview.worker")

MAX_WAITING = 1024
MAX_WAITING_PER_CLIENT = 128
"""Images of one client in the queue: four requests of 24, and some."""
MEMORY_BYTES = 64 * 1024**2
POOL_SIZE = 2
"""Images decoded at one time: one of 50 megapixels is 150 MB of pixels."""
VIEWS_S = 0.05
"""The time for a batch of views, or for one image if that takes longer: a batch cannot be stopped."""
STALLED_S = 120.0
"""Work that has run for this long, and for two deadlines, hangs: nobody waits for it any more."""

_NICER = 10

Answer = TypeVar("Answer")


class Worker:
    """Runs jobs on the device. Call `start` once and `stop` once; every other method is thread-safe."""

    def __init__(
        self,
        factory: EncoderFactory | None,
        *,
        bound: int,
        batch: int,
        deadline_s: float,
        max_waiting: int = MAX_WAITING,
        memory_bytes: int = MEMORY_BYTES,
        stalled_s: float = STALLED_S,
        budget: TimeBudget | None = None,
    ) -> None:
        """`factory` None: analyzing images is switched off. `budget` None: no client has a limit."""
        self.encoders = lazy_encoders(factory)
        self._bound, self._batch, self._deadline_s = bound, batch, deadline_s
        self._max_waiting = max_waiting
        self._stalled_s = max(stalled_s, 2 * deadline_s)
        self._memory = DecompositionCache(memory_bytes)
        self._places = threading.BoundedSemaphore(bound)
        self.budget = budget or TimeBudget(0)
        self._jobs = FairQueue[Job]()
        self._pool = ThreadPoolExecutor(POOL_SIZE, "aside", initializer=yield_to_pages)
        self._thread: threading.Thread | None = None  # None before the start and from the end on
        self._replaced: set[threading.Thread] = set()
        self._starting = threading.Lock()
        self._image_s = 0.0  # what one took of late; 0 before the first
        self._current: tuple[float, Path | None] | None = None  # since when (monotonic), for which index

    def start(self) -> None:
        with self._starting:
            self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stops after the current batch; jobs that still wait get a 503."""
        with self._starting:
            thread, self._thread = self._thread, None
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._jobs.close()
        if thread is not None:
            thread.join(None if not self._is_stalled() else 0)

    def refuse_when_full(self) -> None:
        """Raises `BusyError` if there is no free place, before anything is read."""
        with self.place():
            pass

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds one of the places that limit how many uploads are in memory at a time. Raises `BusyError`."""
        if not self._places.acquire(blocking=False):
            raise BusyError(self._bound)
        try:
            yield
        finally:
            self._places.release()

    def unavailable_reason(self, index_dir: Path) -> str | None:
        """Returns why images cannot be analyzed for that index now; None if no reason is known."""
        return self.encoders.unavailable_reason(index_dir)

    def encoder(self, index_dir: Path) -> EncoderProtocol:
        """Returns the encoder, and loads it if needed, which takes seconds. Raises `EncoderAbsentError`."""
        return self.encoders.get(index_dir)

    def is_loaded(self, index_dir: Path) -> bool:
        return self.encoders.loaded(index_dir) is not None

    def known(self, index_dir: Path, key: str, request: EncodeRequest) -> Decomposition | None:
        """Returns what is remembered of the image if that covers the request, else None."""
        found = self._memory.get((index_dir, key))
        return found if found.covers(request.layers, embedding=request.embedding) else None

    @property
    def n_waiting(self) -> int:
        """The approximate number of jobs that have not begun."""
        return self._jobs.qsize()

    def submit(
        self, index_dir: Path, key: str, crop: Crop, request: EncodeRequest, *, urgent: bool = False
    ) -> "Future[Decomposition]":
        """Decomposes an image; the result has at least what is requested.

        Urgent jobs go first, remembered images need no wait, and clients take turns. Raises `BusyError` if
        too much is waiting, and a 429 if too much of it is this client's. The future may raise `ProblemError`
        or what the encoder raises.
        """
        known = self.known(index_dir, key, request)
        if known is not None:
            answer: Future[Decomposition] = Future()
            answer.set_result(known)
            return answer
        job = ImageJob(index_dir, key, crop, request, self._deadline(), current_client(), urgent)
        return self._put(job).answer

    def call(self, index_dir: Path, call: Callable[[EncoderProtocol], Answer]) -> "Future[Answer]":
        """Runs `call` with the encoder, in the worker's thread. Raises, and may raise, as `submit`."""
        return self._put(
            CallJob(
                lambda: self._with_encoder(index_dir, call), self._deadline(), index_dir, current_client()
            )
        ).answer

    def run(self, work: Callable[[], Answer]) -> "Future[Answer]":
        """Runs work that needs the device but no encoder, as `call` does."""
        return self._put(CallJob(work, self._deadline(), client=current_client())).answer

    def run_in_pool(self, work: Callable[[], Answer]) -> "Future[Answer]":
        """Runs what an image needs before and after the device, a few at a time."""
        return self._pool.submit(work)

    def _deadline(self) -> float:
        return time.monotonic() + self._deadline_s

    _AnyJob = TypeVar("_AnyJob", ImageJob, CallJob)

    def _put(self, job: _AnyJob) -> _AnyJob:
        self._restart()
        if self._jobs.qsize() >= self._max_waiting:
            raise BusyError(self._max_waiting)
        n_waiting = self._jobs.n_waiting(job.client)
        if n_waiting >= MAX_WAITING_PER_CLIENT:
            raise TooManyAtOnceError(n_waiting)
        self._jobs.put(job, job.client, Urgency.UPLOAD if job.is_upload else Urgency.VIEW)
        return job

    def _is_stalled(self) -> bool:
        """True if the current work has run far longer than anybody waits for it."""
        current = self._current
        return current is not None and time.monotonic() - current[0] > self._stalled_s

    def _restart(self) -> None:
        """Replaces a thread that died or hangs, and drops the encoder that it hangs in."""
        with self._starting:
            thread, current = self._thread, self._current
            if thread is None or (thread.is_alive() and not self._is_stalled()):
                return
            log.error("the inference thread %s: another takes over", "hangs" if thread.is_alive() else "died")
            if current is not None and current[1] is not None:
                self.encoders.forget(current[1])
            self._current = None
            self._replaced.add(thread)
            self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
            self._thread.start()

    @contextmanager
    def _held(self, index_dir: Path | None) -> Iterator[None]:
        """Notes the work in hand for `_is_stalled`. A replaced thread leaves its successor's note alone."""
        note = (time.monotonic(), index_dir)
        self._current = note
        try:
            yield
        finally:
            if self._current is note:
                self._current = None

    def _run(self) -> None:
        yield_to_pages()
        while threading.current_thread() not in self._replaced:
            job = self._jobs.take()
            if job is None:
                break
            if isinstance(job, CallJob):
                self._answer_call(job)
            else:
                self._answer_images([job, *self._batch_of(job)])
        else:
            return
        for left in self._jobs.drain():
            resolve(left, TooSlowError())

    def _batch_of(self, first: ImageJob) -> list[ImageJob]:
        """Takes waiting jobs for the same, of any client; for views, only as many as `VIEWS_S` allows."""
        most = self._batch
        if not first.is_upload and self._image_s > 0:
            most = min(most, max(int(VIEWS_S / self._image_s), 1))
        found = self._jobs.take_matching(
            lambda job: isinstance(job, ImageJob) and can_batch(job, first), most - 1
        )
        return [job for job in found if isinstance(job, ImageJob)]

    def _answer_call(self, job: CallJob) -> None:
        if not is_pending(job):
            return
        try:
            with self._held(job.index_dir), self._charged([job]):
                resolve(job, job.call())
        except BaseException as error:  # whoever waits must hear of it, and the thread must live
            resolve(job, error)

    def _answer_images(self, batch: list[ImageJob]) -> None:
        jobs = [job for job in batch if is_pending(job)]
        try:
            with self._held(batch[0].index_dir), self._charged(jobs):
                found = self._decompose(jobs)
        except BaseException as error:  # whoever waits must hear of it, and the thread must live
            for job in jobs:
                resolve(job, error)
            return
        for job in jobs:
            resolve(job, found[job.key])

    @contextmanager
    def _charged(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Charges the time to the jobs' clients in equal parts; `upload_rate` limits uploads instead."""
        started_s = time.monotonic()
        try:
            yield
        finally:
            for job in jobs:
                if not job.is_upload:
                    self.budget.spend(job.client, (time.monotonic() - started_s) / len(jobs))

    def _decompose(self, jobs: list[ImageJob]) -> dict[str, Decomposition]:
        """Returns decompositions by key. Computes no image twice, and none that is remembered."""
        found = {job.key: self.known(job.index_dir, job.key, job.request) for job in jobs}
        todo = {job.key: job for job in jobs if found[job.key] is None}
        if todo:
            first = next(iter(todo.values()))
            crops = np.stack([job.crop for job in todo.values()])
            parts = self._with_encoder(
                first.index_dir, lambda encoder: self._timed_decompose(encoder, crops, first)
            )
            for key, part in zip(todo, parts, strict=True):
                found[key] = self._memory.add((first.index_dir, key), part)
        return {key: decomposition for key, decomposition in found.items() if decomposition is not None}

    def _timed_decompose(self, encoder: EncoderProtocol, crops: Crop, first: ImageJob) -> list[Decomposition]:
        started_s = time.monotonic()
        parts = encoder.decompose(crops, first.request.layers, embedding=first.request.embedding)
        took_s = (time.monotonic() - started_s) / len(crops)
        self._image_s += (took_s - self._image_s) / 4
        return parts

    def _with_encoder(self, index_dir: Path, call: Callable[[EncoderProtocol], Answer]) -> Answer:
        """Runs `call` with the encoder. If the device fails, reloads it and raises `DeviceFailedError`."""
        encoder = self.encoders.get(index_dir)
        try:
            return call(encoder)
        except ProblemError:
            raise
        except (RuntimeError, MemoryError) as error:
            log.exception("the device failed; the encoder of %s is loaded again", index_dir)
            failure = DeviceFailedError()
            failure.__cause__ = error.with_traceback(None)  # the trace would keep the failed batch alive
        self.encoders.reload(index_dir, encoder)
        raise failure


def yield_to_pages() -> None:
    """Lowers the priority of the calling thread and of threads that it starts, where threads have one."""
    if sys.platform == "linux":
        thread_id = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread_id)
        os.setpriority(os.PRIO_PROCESS, thread_id, min(nice + _NICER, 19))
