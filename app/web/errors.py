"""Errors over HTTP: one exception, and the answer to it and to every other error.

NotFoundError                 404  from the store, or a malformed id in the path
DamagedError                  503  a file of the index is not what was written
ProblemError                       its own status
RequestValidationError        404 when it is about the path, else 422 naming what is accepted
HTTPException (the router)    its own status
"""

import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from scopeview.errors import BadReason, DamagedError, ImageError, NotFoundError

log = logging.getLogger("scopeview.problems")

IMAGE_STATUS = {
    BadReason.UNSUPPORTED: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    BadReason.TOO_LARGE: HTTPStatus.CONTENT_TOO_LARGE
    if hasattr(HTTPStatus, "CONTENT_TOO_LARGE")
    else HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BadReason.TOO_MANY_PIXELS: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    BadReason.TOO_MANY_SCANS: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}


class ProblemBody(BaseModel):
    """The JSON body of every error response."""

    error: str = Field(description="error code for programs", examples=["not_found"])
    detail: str = Field(description="message for people: what is wrong and what is accepted")


class ProblemError(Exception):
    """An HTTP error response; `detail` is a sentence that a visitor can act on."""

    def __init__(
        self, status: int, error: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.answer = Answer(status, error, detail, dict(headers or {}))


@dataclass(frozen=True)
class Answer:
    """A problem, ready to be written as HTML or JSON."""

    status: int
    error: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


def unprocessable(name: str, value: object, accepted: str) -> ProblemError:
    """Returns a 422 that names a bad query value or form field."""
    return ProblemError(422, "unprocessable", f"Invalid {name} '{value!s:.80}'. Expected {accepted}.")


def is_disk_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def disk_problems(folder: Path) -> Iterator[None]:
    """Turns the disk's errors into a 507 or a 503; the log has the whole story."""
    try:
        yield
    except OSError as error:
        log.exception("%s cannot be written to", folder)
        if is_disk_full(error):
            detail = "The disk of this server is full, so nothing can be stored. Try again later."
            raise ProblemError(507, "disk_full", detail, {"Retry-After": "600"}) from error
        detail = "This server cannot write to its disk, so nothing can be stored. Try again later."
        raise ProblemError(503, "disk_not_writable", detail, {"Retry-After": "600"}) from error


def listed(values: Sequence[object]) -> str:
    """Joins values: `cls, 137 or any`."""
    words = [str(value) for value in values]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def answer_for(error: Exception) -> Answer:
    """Returns the answer. Never reveals the text of an unexpected error, which belongs in the log."""
    if isinstance(error, ProblemError):
        return error.answer
    if isinstance(error, NotFoundError):
        return Answer(404, "not_found", str(error))
    if isinstance(error, DamagedError):
        return Answer(503, "damaged", "A file of this index is damaged. The server's log has the details.")
    if isinstance(error, ImageError):
        status = IMAGE_STATUS.get(error.reason, HTTPStatus.UNPROCESSABLE_ENTITY)
        return Answer(status, error.reason.name.lower(), str(error))
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _from_router(error)
    return Answer(500, "internal", "The server had an internal error. Its log has the details.")


def _invalid(error: RequestValidationError) -> Answer:
    first: dict[str, Any] = error.errors()[0]
    where, name = first["loc"][0], ".".join(map(str, first["loc"][1:]))
    if where == "path":
        return Answer(404, "not_found", f"There is no such page. {_message(first)}")
    return Answer(422, "unprocessable", f"Invalid {name} '{first.get('input')!s:.80}'. {_message(first)}")


def _message(problem: Mapping[str, Any]) -> str:
    """Returns the problem as one sentence."""
    text = str(problem["msg"]).removeprefix("Value error, ")
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _from_router(error: HTTPException) -> Answer:
    word = HTTPStatus(error.status_code).name.lower()
    detail = {
        404: "There is no such page.",
        405: "Method not allowed.",
    }.get(error.status_code, str(error.detail))
    return Answer(error.status_code, word, detail, dict(error.headers or {}))
