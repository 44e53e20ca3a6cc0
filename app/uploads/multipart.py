"""Reads one file out of a multipart request, in memory and within bounds."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from app.formatting import size
from app.settings import Settings
from app.web.errors import ProblemError

FIELD = "image"
_ENVELOPE_BYTES = 64 * 1024
"""The most that a form may hold beside the image: boundaries, part headers, small fields."""


@dataclass(frozen=True)
class Pace:
    """Limits of a request body: size and minimum speed."""

    max_bytes: int
    timeout_s: float  # for all of it
    min_bytes_per_s: int  # on average, once `grace_s` are over
    grace_s: float = 10.0

    @classmethod
    def of(cls, settings: Settings) -> "Pace":
        return cls(settings.max_upload_bytes, settings.upload_read_s, settings.upload_min_bytes_per_s)

    def deadline_s(self, n_bytes: int) -> float:
        """Returns when more must have come, in seconds from the start, after `n_bytes`. Pure."""
        return min(self.timeout_s, self.grace_s + n_bytes / self.min_bytes_per_s)


async def read_image(request: Request, pace: Pace) -> bytes:
    """Returns the bytes of the field `image`; writes nothing to disk.

    Raises `ProblemError` (400, 408, 413, 415, 422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        sent = kind or "untyped"
        detail = f"Send the image as multipart/form-data in the field {FIELD!r}; this request is {sent}."
        raise ProblemError(415, "unsupported", detail)
    _check_length(request.headers.get("content-length"), pace.max_bytes)
    try:
        async with asyncio.timeout(pace.deadline_s(0)) as timeout:
            form = await _parse(request, _bounded(request.stream(), pace, timeout))
            try:
                return await _image_field(form, pace.max_bytes)
            finally:
                await form.close()
    except TimeoutError:
        detail = (
            f"The image did not arrive in time: within {pace.timeout_s:.0f} seconds,"
            f" at {size(pace.min_bytes_per_s)} a second or more."
        )
        raise ProblemError(408, "timeout", detail) from None
    except ClientDisconnect:
        raise ProblemError(
            400, "disconnected", "The connection ended before the whole image arrived."
        ) from None


class _InMemory(MultiPartParser):
    """Keeps all parts in memory: Starlette moves large ones to a file, but an image must touch no disk."""

    spool_max_size = 2**40

    async def parse(self) -> FormData:
        """Parses the form, and closes the parts that it does not keep.

        Starlette closes the parts when the form is broken, but not when the stream is. It also never closes a
        part that has no end, since that one is in no form.
        """
        kept: list[object] = []
        try:
            form = await super().parse()
            kept += [part.file for _, part in form.multi_items() if isinstance(part, UploadFile)]
            return form
        finally:
            for file in self._files_to_close_on_error:
                if file not in kept:
                    file.close()


async def _parse(request: Request, stream: AsyncGenerator[bytes, None]) -> FormData:
    parser = _InMemory(request.headers, stream, max_files=4, max_fields=16, max_part_size=_ENVELOPE_BYTES)
    try:
        return await parser.parse()
    except (MultiPartException, MultipartParseError, UnicodeDecodeError) as error:
        raise ProblemError(
            422, "unprocessable", f"The multipart form is incomplete or invalid: {error}."
        ) from None


async def _bounded(
    stream: AsyncGenerator[bytes, None], pace: Pace, timeout: asyncio.Timeout
) -> AsyncGenerator[bytes, None]:
    """Passes chunks on; counts what arrives, and when, since Content-Length may be absent (chunked)."""
    seen, started_s = 0, asyncio.get_running_loop().time()
    async for chunk in stream:
        seen += len(chunk)
        if seen > pace.max_bytes + _ENVELOPE_BYTES:
            raise _too_large(pace.max_bytes)
        timeout.reschedule(started_s + pace.deadline_s(seen))
        yield chunk


async def _image_field(form: FormData, max_bytes: int) -> bytes:
    found = form.getlist(FIELD)
    if len(found) != 1 or not isinstance(found[0], UploadFile):
        names = ", ".join(repr(name[:40]) for name in form) or "no fields"
        detail = f"Send exactly one image file in the field {FIELD!r}; this form has {names}."
        raise ProblemError(422, "unprocessable", detail)
    data = await found[0].read()
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    if not data:
        raise ProblemError(422, "empty", "No image was chosen, or the file is empty.")
    return data


def _check_length(stated: str | None, max_bytes: int) -> None:
    if stated is not None and stated.isdecimal() and int(stated) > max_bytes + _ENVELOPE_BYTES:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> ProblemError:
    return ProblemError(413, "too_large", f"This image is too large: at most {size(max_bytes)} are accepted.")
