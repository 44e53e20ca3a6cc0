"""Checks that an upload is one plain image and nothing else, before it is decoded.

The error for other files names the accepted kinds, and the file's own kind if people often send it.

Only the pixels of a file are kept, so a file that is an image and something else as well could do no harm
here; yet nobody sends one by accident. The same goes for an animation without end, of which only the first
frame would be used. What cameras append to an image (a film, a depth map) is accepted.
"""

import re

from app.web.errors import ProblemError
from scopeview.errors import ImageError
from scopeview.images import ACCEPTED, kind_of

MAX_FRAMES = 1_000

_HEAD_BYTES = 1024  # PDF readers look for the header in so many bytes, browsers for tags in about as many
_ZIP_END = re.compile(rb"PK\x05\x06.{16}(?P<comment>..)", re.DOTALL)
_ZIP_END_BYTES = 22
_MARKUP = re.compile(rb"<(?:!doctype html|html|script|iframe|\?php)[\s>]", re.IGNORECASE)
_OTHER_FILES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("a PDF", re.compile(rb"%PDF-")),
    ("a HEIC photo", re.compile(rb"(?s:....)ftyp(?:heic|heix|heim|heis|hevc|mif1|msf1)")),
    ("an AVIF image", re.compile(rb"(?s:....)ftypavi[fs]")),
    ("a video", re.compile(rb"(?s:....)ftyp|\x1aE\xdf\xa3")),
    ("a TIFF image", re.compile(rb"II\*\x00|MM\x00\*")),
    ("a BMP image", re.compile(rb"BM(?s:....)\x00\x00\x00\x00")),
    ("an SVG image", re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<svg[\s>]")),
    ("a ZIP archive", re.compile(rb"PK\x03\x04")),
)
_SCRIPT = re.compile(rb"GIF8.a/\*|\xff\xd8\xff\xe0/\*")  # a comment where width or length would be


def validate_image(data: bytes) -> None:
    """Raises a 415 if it is no image, or another kind of file as well; a 413 if it has too many frames."""
    _refuse_other_files(data)
    other = _other_kind(data)
    if other is not None:
        detail = f"This file is both an image and {other}. Send a plain image."
        raise ProblemError(415, "unsupported", detail)
    if _n_frames(data) > MAX_FRAMES:
        detail = f"This animation has more than {MAX_FRAMES:,} frames. Send a single frame instead."
        raise ProblemError(413, "too_many_frames", detail)


def _refuse_other_files(data: bytes) -> None:
    """Raises a 415 if the file does not begin as an image: its beginning decides how it would be decoded."""
    try:
        kind_of(data)
    except ImageError:
        known = next((name for name, begins in _OTHER_FILES if begins.match(data)), None)
        what = f"This file is {known}." if known else "This file cannot be read as an image."
        raise ProblemError(415, "unsupported", f"{what} Accepted formats: {ACCEPTED}.") from None


def _other_kind(data: bytes) -> str | None:
    head = data[:_HEAD_BYTES]
    if b"%PDF-" in head:
        return "a PDF"
    if _ends_as_zip(data):
        return "a ZIP archive"
    return "a web page or a script" if _SCRIPT.match(data) or _MARKUP.search(data) else None


def _ends_as_zip(data: bytes) -> bool:
    """True if a ZIP directory ends here: its end states how long the comment is that ends the file."""
    tail = data[-(_ZIP_END_BYTES + 0xFFFF) :]
    return any(
        found.end() + int.from_bytes(found["comment"], "little") == len(tail)
        for found in _ZIP_END.finditer(tail)
    )


def _n_frames(data: bytes) -> int:
    """Counts the frames of a GIF or animated WebP as far as its blocks can be followed.

    For a GIF it stops at one more than allowed.
    """
    if data[:4] == b"GIF8":
        return _n_gif_frames(data)
    return data.count(b"ANMF") if data[8:16] == b"WEBPVP8X" else 1


def _n_gif_frames(data: bytes) -> int:
    at, n_frames = 13 + _table_bytes(data[10:11]), 0
    while at < len(data) and n_frames <= MAX_FRAMES:
        kind = data[at]
        if kind == 0x2C:  # an image: its descriptor, its colors, the width of its codes
            n_frames += 1
            at += 11 + _table_bytes(data[at + 9 : at + 10])
        elif kind == 0x21:  # an extension
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return n_frames


def _table_bytes(flags: bytes) -> int:
    """Returns the size of the color table that a GIF's flags announce."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
