"""Jobs of the inference worker, and how they are answered."""

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from app.engine.encoders import Crop
from app.engine.errors import DeviceFailedError, TooSlowError
from app.web.client_address import NOBODY
from scopeview.analysis.decomposition import Decomposition
from scopeview.slots import Layer


class EncodeRequest(NamedTuple):
    """The layers of an image that a job needs, and whether it needs CLIP's embedding."""

    layers: tuple[Layer, ...]
    embedding: bool = False


@dataclass(frozen=True)
class ImageJob:
    """One image to decompose. Equal keys within an index mean equal images."""

    index_dir: Path
    key: str
    crop: Crop
    request: EncodeRequest
    deadline_s: float  # of time.monotonic()
    client: str = NOBODY  # for whom
    is_upload: bool = False
    answer: "Future[Decomposition]" = field(default_factory=Future)


@dataclass(frozen=True)
class CallJob:
    """Any other work that needs the device: `call` runs alone."""

    call: Callable[[], Any]
    deadline_s: float
    index_dir: Path | None = None  # whose encoder it uses
    client: str = NOBODY
    is_upload: bool = False
    answer: "Future[Any]" = field(default_factory=Future)


Job = ImageJob | CallJob


def can_batch(one: ImageJob, other: ImageJob) -> bool:
    """True if both may go through the model together."""
    return one.index_dir == other.index_dir and one.request == other.request


def is_pending(job: Job) -> bool:
    """False if the requester has gone or the deadline is over; the job then fails with `TooSlowError`."""
    if job.answer.cancelled():
        return False
    if time.monotonic() < job.deadline_s:
        return True
    resolve(job, TooSlowError())
    return False


def resolve(job: Job, outcome: Any) -> None:
    """Answers a job with a result or an error; `SystemExit` and its like are reported as a failed device."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
        outcome = DeviceFailedError()
    with suppress(InvalidStateError):  # whoever asked has gone
        if isinstance(outcome, Exception):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)
