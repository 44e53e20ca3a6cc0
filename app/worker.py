"""The inference worker: one thread that turns crops into codes, behind a bound, a deadline and small batches.

Pages never come here. The encoder, and torch with it, is loaded by the first upload (or at start), never at
import; where it cannot be loaded, `EncoderAbsentError` says why in words for a visitor.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from app.problems import ProblemError
from scopeview.errors import ScopeviewError
from scopeview.store.records import Code

log = logging.getLogger("scopeview.worker")

RETRY_LOAD_S = 60.0
"""A failed load is told to visitors for this long before it is tried again."""

Crop = np.ndarray[Any, np.dtype[np.uint8]]


class Encoder(Protocol):
    """The part of `scopeview.encoder.Encoder` that uploads use."""

    def crop(self, image: Image.Image) -> Crop:
        """The square the model sees: (3, height, width)."""

    def codes(self, crops: Crop) -> list[list[Code]]:
        """For each of (batch, 3, height, width) its code at every slot, in slot order."""


EncoderFactory = Callable[[Path], Encoder]
"""Loads the encoder of an index folder. Raises `ScopeviewError` or `ImportError` where it cannot."""


class EncoderAbsentError(ProblemError):
    def __init__(self, why: str) -> None:
        super().__init__(503, "encoder_absent", f"Uploads cannot be taken apart here: {why}.")


class BusyError(ProblemError):
    def __init__(self, bound: int, retry_s: int = 5) -> None:
        detail = f"{bound} pictures are being taken apart already. Try again in a few seconds."
        super().__init__(503, "busy", detail, {"Retry-After": str(retry_s)})


class TooSlowError(ProblemError):
    def __init__(self, retry_s: int = 30) -> None:
        detail = "This took too long: the server is busy. Try again in half a minute."
        super().__init__(503, "too_slow", detail, {"Retry-After": str(retry_s)})


@dataclass(frozen=True)
class Job:
    """One crop on its way to its codes."""

    index_dir: Path
    crop: Crop
    deadline_s: float  # of time.monotonic()
    codes: "Future[list[Code]]" = field(default_factory=Future)


class Worker:
    """Call `start` once and `stop` once; every other method may be called from any thread."""

    def __init__(self, factory: EncoderFactory | None, *, bound: int, batch: int, deadline_s: float) -> None:
        """`factory` is None where uploads are switched off."""
        self._factory = factory
        self._bound, self._batch, self._deadline_s = bound, batch, deadline_s
        self._encoders: dict[Path, Encoder] = {}
        self._failures: dict[Path, tuple[float, str]] = {}
        self._loading = threading.Lock()
        self._places = threading.BoundedSemaphore(bound)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._held: list[Job | None] = []  # at most one, taken from the queue and not yet run
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends after the batch in hand; what is still waiting gets a 503."""
        self._jobs.put(None)
        self._thread.join()

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places that bound how many uploads are in memory at one time. Raises `BusyError`."""
        if not self._places.acquire(blocking=False):
            raise BusyError(self._bound)
        try:
            yield
        finally:
            self._places.release()

    def why_absent(self, index_dir: Path) -> str | None:
        """Why uploads to that index cannot be taken at this moment, or None as far as is known."""
        if self._factory is None:
            return "the operator of this server has switched them off"
        failed_s, why = self._failures.get(index_dir, (0.0, ""))
        return why if why and time.monotonic() - failed_s < RETRY_LOAD_S else None

    def encoder(self, index_dir: Path) -> Encoder:
        """Loads it when it is not loaded yet, which takes seconds. Raises `EncoderAbsentError`."""
        with self._loading:
            if index_dir not in self._encoders:
                self._encoders[index_dir] = self._load(index_dir)
            return self._encoders[index_dir]

    def is_loaded(self, index_dir: Path) -> bool:
        return index_dir in self._encoders

    def submit(self, index_dir: Path, crop: Crop) -> "Future[list[Code]]":
        """The code at every slot, in order. The future may raise `TooSlowError` or what the encoder does."""
        job = Job(index_dir, crop, time.monotonic() + self._deadline_s)
        self._jobs.put(job)
        return job.codes

    def _load(self, index_dir: Path) -> Encoder:
        why = self.why_absent(index_dir)
        if why is not None or self._factory is None:
            raise EncoderAbsentError(why or "there is no encoder")
        try:
            return self._factory(index_dir)
        except (ScopeviewError, ImportError, OSError, RuntimeError, MemoryError) as error:
            log.exception("the encoder of %s could not be loaded", index_dir)
            why = _public_reason(error)
            self._failures[index_dir] = (time.monotonic(), why)
            raise EncoderAbsentError(why) from error

    def _run(self) -> None:
        while (first := self._next()) is not None:
            jobs = self._take_batch(first)
            self._answer([job for job in jobs if _in_time(job)])
        self._refuse_waiting()

    def _next(self) -> Job | None:
        return self._held.pop() if self._held else self._jobs.get()

    def _take_batch(self, first: Job) -> list[Job]:
        """What waits for the same encoder already; the first that does not is held for the next batch."""
        jobs = [first]
        while len(jobs) < self._batch:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None or job.index_dir != first.index_dir:
                self._held.append(job)
                break
            jobs.append(job)
        return jobs

    def _answer(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        try:
            encoder = self.encoder(jobs[0].index_dir)
            found = encoder.codes(np.stack([job.crop for job in jobs]))
        except Exception as error:  # whoever waits must hear of it, and the thread must live
            for job in jobs:
                _settle(job, error)
            return
        for job, codes in zip(jobs, found, strict=True):
            _settle(job, codes)

    def _refuse_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                _settle(job, TooSlowError())


def _in_time(job: Job) -> bool:
    if time.monotonic() < job.deadline_s:
        return True
    _settle(job, TooSlowError())
    return False


def _settle(job: Job, outcome: list[Code] | Exception) -> None:
    with suppress(InvalidStateError):  # whoever asked has gone
        if isinstance(outcome, Exception):
            job.codes.set_exception(outcome)
        else:
            job.codes.set_result(outcome)


def _public_reason(error: Exception) -> str:
    """Without paths: the log has the whole message."""
    if isinstance(error, ImportError):
        return "the packages that run the model are not installed on this server"
    if isinstance(error, ScopeviewError):
        return "the model or the SAE files of this index are not on this server, or cannot be used"
    return "the model could not be loaded on this server"


def scopeview_encoders(device: str) -> EncoderFactory | None:
    """The real thing; None for the device `off`. torch is imported when an encoder is loaded, not before."""
    if device == "off":
        return None

    def load(index_dir: Path) -> Encoder:
        from scopeview.recipe import load_encoder

        encoder: Encoder = load_encoder(index_dir, device=device)
        return encoder

    return load
