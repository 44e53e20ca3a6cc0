"""What the inference worker is given to do, and how whoever waits for it hears of it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from app.clients import NOBODY
from app.inference.encoders import Crop
from app.inference.problems import DeviceFailedError, TooSlowError
from scopeview.apart import Apart
from scopeview.slots import Layer


class Wanted(NamedTuple):
    """What is to be known of a picture: some layers, and CLIP's embedding or not."""

    layers: tuple[Layer, ...]
    embedding: bool = False


@dataclass(frozen=True)
class PictureJob:
    """One picture on its way. Equal keys within an index are equal pictures."""

    index_dir: Path
    key: str
    crop: Crop
    wanted: Wanted
    deadline_s: float  # of time.monotonic()
    client: str = NOBODY  # for whom
    is_upload: bool = False
    answer: "Future[Apart]" = field(default_factory=Future)


@dataclass(frozen=True)
class CallJob:
    """Anything else that needs the device: `call` is run alone."""

    call: Callable[[], Any]
    deadline_s: float
    index_dir: Path | None = None  # whose encoder it uses
    client: str = NOBODY
    is_upload: bool = False
    answer: "Future[Any]" = field(default_factory=Future)


Job = PictureJob | CallJob


def alike(one: PictureJob, other: PictureJob) -> bool:
    """May they go through the model together?"""
    return one.index_dir == other.index_dir and one.wanted == other.wanted


def is_due(job: Job) -> bool:
    """False where whoever asked has gone, or has waited too long and is told so."""
    if job.answer.cancelled():
        return False
    if time.monotonic() < job.deadline_s:
        return True
    settle(job, TooSlowError())
    return False


def settle(job: Job, outcome: Any) -> None:
    """With an answer, or with what went wrong: `SystemExit` and its like are told as a failed device."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
        outcome = DeviceFailedError()
    with suppress(InvalidStateError):  # whoever asked has gone
        if isinstance(outcome, Exception):
            job.answer.set_exception(outcome)
        else:
            job.answer.set_result(outcome)
