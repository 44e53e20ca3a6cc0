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
    """What is to be known of an image: some layers, and CLIP's embedding or not."""

    layers: tuple[Layer, ...]
    embedding: bool = False


@dataclass(frozen=True)
class ImageJob:
    """One image on its way. Equal keys within an index are equal images."""

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
    """Anything else that needs the device: `call` is run alone."""

    call: Callable[[], Any]
    deadline_s: float
    index_dir: Path | None = None  # whose encoder it uses
    client: str = NOBODY
    is_upload: bool = False
    answer: "Future[Any]" = field(default_factory=Future)


Job = ImageJob | CallJob


def can_batch(one: ImageJob, other: ImageJob) -> bool:
    """May they go through the model together?"""
    return one.index_dir == other.index_dir and one.request == other.request


def is_pending(job: Job) -> bool:
    """False where whoever asked has gone, or has waited too long and is told so."""
    if job.answer.cancelled():
        return False
    if time.monotonic() < job.deadline_s:
        return True
    resolve(job, TooSlowError())
    return False


def resolve(job: Job, outcome: Any) -> None:
    """With an answer, or with what went wrong: `SystemExit` and its like are told as a failed device."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
        outcome = DeviceFailedError()
    with suppress(InvalidStateError):  # whoever asked has gone
        if isinstance(outcome, Exception):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)
