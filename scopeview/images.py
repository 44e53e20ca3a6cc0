"""Decodes bytes to RGB pixels, and encodes pixels to WebP: the one path that the index and uploads share.

The format is detected from the content, never from a name. Knows nothing of models: `preprocess` cuts out the
part of the image that a CLIP sees. Safe to call from many threads; no global Pillow setting is touched.
"""

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from scopeview.errors import BadReason, ImageError

ACCEPTED = "JPEG, PNG, WebP or GIF"

MAX_SCANS = 100
"""The maximum number of scans in a JPEG, each of which may redraw the whole image: usual are 1 to 12."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""The limit on pixels in all scans together: 20 times 50 megapixels, a few seconds of a core at most."""

_SCAN = b"\xff\xda\x00"  # the marker and the high byte of its length; compressed data never has it
Grey16 = Literal["scaled", "clipped"]
"""How 16-bit greyscale becomes 8-bit: by its high byte, or clipped at 255, so that most of it is white."""

# Markers as a JPEG decoder finds them: fill bytes before them, not the stuffed zeros and restarts of pixels.
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_JPEG_START, _JPEG_END, _JPEG_TEMPORARY = 0xD8, 0xD9, 0x01

_GREY_16_BIT = "I;16"  # Pillow's mode for it; 16-bit colour comes out as 8-bit already

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_PNG_ORIENTATION = b"eXIf"
_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# 0 to 6: at 2 a sprite takes half the time of Pillow's default of 4 and is 2 % larger.
_WEBP_EFFORT = 2

# Filters of `warnings` belong to the process, so one thread at a time may change them. Headers are read under
# this lock, pixels (the slow part) outside it.
_quiet_lock = threading.Lock()


@dataclass(frozen=True)
class ImageLimits:
    """Limits on the file's bytes, and on the pixels that its header states; checked before decoding."""

    max_bytes: int = 10 * 1024**2
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class DecodedImage:
    """`image` is RGB and upright and carries no metadata; `width` and `height` are its own, in pixels.

    `is_grey_16_bit` describes the file; `image` itself is always 8-bit.
    """

    image: Image.Image
    format: str
    width: int
    height: int
    is_grey_16_bit: bool = False


def decode(data: bytes, limits: ImageLimits, grey_16_bit: Grey16 = "scaled") -> DecodedImage:
    """Decodes the image in `data` (of an animation, the first frame), upright and in RGB.

    The conversion to RGB is Pillow's `convert`, as Hugging Face's CLIP processor did it when the SAEs were
    trained: a palette is converted by way of RGBA, alpha is dropped (transformers 5 blends it onto white
    instead), and colour profiles are ignored. The exception is 16-bit greyscale, which the processor clips at
    255: here it is scaled as viewers do it, and as Pillow does 16-bit colour, unless `grey_16_bit` is
    "clipped", as in older indexes. Of an animation only the first frame has to be complete.

    Raises `ImageError` and nothing else.
    """
    if not data:
        raise ImageError(BadReason.EMPTY, "the file is empty (0 bytes)")
    if len(data) > limits.max_bytes:
        found = f"the file has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted"
        raise ImageError(BadReason.TOO_LARGE, found)
    kind = kind_of(data)
    with _corrupt_unless_decoded(kind):
        return _decode_png(data, limits, grey_16_bit) if kind == "PNG" else _decode(kind, data, limits)


def kind_of(data: bytes) -> str:
    """The format by its first bytes: `JPEG`, `PNG`, `WebP` or `GIF`. Raises `ImageError` for others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    raise ImageError(BadReason.UNSUPPORTED, f"not a {ACCEPTED} image (it starts with {data[:12]!r})")


def encode_webp(image: Image.Image, quality: int = 80) -> bytes:
    """Encodes as WebP. Equal pixels always give equal bytes; no EXIF, XMP or colour profile is written."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=_WEBP_EFFORT, exif=b"", xmp=b"", icc_profile=b"")
    return buffer.getvalue()


def encode_lossless(crop: UInt8[np.ndarray, "3 height width"]) -> bytes:
    """Encodes the model's input pixels as lossless WebP: decoding gives identical pixels."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0)))
    # No effort: twice as fast as a lossy thumbnail, and 13 % larger than with the effort of those.
    image.save(buffer, "WEBP", lossless=True, quality=0, method=0, exif=b"", xmp=b"", icc_profile=b"")
    return buffer.getvalue()


def thumbnail(crop: UInt8[np.ndarray, "3 height width"], size_px: int, quality: int = 80) -> bytes:
    """Encodes the model's input pixels as WebP, resized to `size_px` x `size_px`."""
    image = Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0)))
    if image.size != (size_px, size_px):
        image = image.resize((size_px, size_px), Image.Resampling.LANCZOS)
    return encode_webp(image, quality)


def jpeg_markers(data: bytes) -> Iterator[int]:
    """The markers of a JPEG's first image, start to end, in the order in which a decoder reads them.

    Segments are skipped by their lengths, so markers inside metadata do not count; data after the end is
    ignored.
    """
    at = 0
    while found := _JPEG_MARKER.search(data, at):
        marker = found[1][0]
        yield marker
        if marker == _JPEG_END:
            return
        at = found.end()
        if marker not in (_JPEG_START, _JPEG_TEMPORARY):
            at += int.from_bytes(data[at : at + 2], "big")


@contextlib.contextmanager
def _corrupt_unless_decoded(kind: str) -> Iterator[None]:
    """Turns any error into `ImageError`: on hostile bytes decoders raise OSError, SyntaxError and others."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it looks at sooner
        raise ImageError(BadReason.TOO_MANY_PIXELS, f"this {kind} has too many pixels: {error}") from error
    except Exception as error:
        raise ImageError(BadReason.CORRUPT, f"this {kind} is damaged or cut short: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses Pillow's warnings of odd metadata; only the pixels matter here."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(kind: str, data: bytes) -> ImageFile:
    """Reads only headers. Names the decoder, since `Image.open` tries others and warns of large images."""
    decoders: dict[str, Callable[[io.BytesIO], ImageFile]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,  # its factory also looks for more images behind the first
        "PNG": PngImagePlugin.PngImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    with _quiet():
        return decoders[kind](io.BytesIO(data))


def _decode(kind: str, data: bytes, limits: ImageLimits, grey_16_bit: Grey16 = "scaled") -> DecodedImage:
    with _open(kind, data) as opened:
        _check_pixels(opened, limits)
        if kind == "JPEG":
            _check_scans(opened, data)
        opened.load()
        _check_complete(kind, data)
        image = _to_rgb(_turn(opened, _orientation(opened)), grey_16_bit)
        return DecodedImage(image, kind, image.width, image.height, opened.mode == _GREY_16_BIT)


def _decode_png(data: bytes, limits: ImageLimits, grey_16_bit: Grey16) -> DecodedImage:
    """Decodes a PNG; on failure again without optional chunks, which may be damaged or over 1 MB."""
    try:
        return _decode("PNG", data, limits, grey_16_bit)
    except ImageError:
        raise
    except Exception:
        return _decode("PNG", _critical_chunks(data), limits, grey_16_bit)


def _critical_chunks(png: bytes) -> bytes:
    """The PNG with only its critical chunks and its orientation; nothing is decompressed."""
    kept, at = [_PNG_SIGNATURE], len(_PNG_SIGNATURE)
    while header := png[at : at + 8]:
        end = at + 12 + int.from_bytes(header[:4], "big")
        kind = header[4:]
        if kind[:1].isupper() or kind == _PNG_ORIENTATION:
            kept.append(png[at:end])
        at = end
    return b"".join(kept)


def _check_pixels(opened: ImageFile, limits: ImageLimits) -> None:
    n_pixels = opened.width * opened.height
    if n_pixels > limits.max_pixels:
        size = f"{opened.width} x {opened.height} = {n_pixels:,} pixels"
        raise ImageError(
            BadReason.TOO_MANY_PIXELS, f"the image has {size}; at most {limits.max_pixels:,} are accepted"
        )


def _check_scans(opened: ImageFile, data: bytes) -> None:
    """Limits a JPEG's scans: each takes as long as a whole image; 0.9 MB of them took 38 seconds."""
    n_scans = data.count(_SCAN)
    most = min(MAX_SCANS, max(MAX_SCANNED_PIXELS // (opened.width * opened.height), 1))
    if n_scans > most:
        size = f"{opened.width} x {opened.height}"
        raise ImageError(
            BadReason.TOO_MANY_SCANS,
            f"this JPEG of {size} pixels is drawn in {n_scans:,} scans; at most {most} are accepted",
        )


def _check_complete(kind: str, data: bytes) -> None:
    """Finds damage that Pillow ignores: a JPEG without end marker, a PNG with bad or lost chunks."""
    if kind == "JPEG" and _JPEG_END not in jpeg_markers(data):
        raise ImageError(BadReason.CORRUPT, "this JPEG is cut short: it has no end marker")
    if kind == "PNG":
        if _PNG_END not in data:
            raise ImageError(BadReason.CORRUPT, "this PNG is cut short: it has no end chunk")
        with _open(kind, data) as opened:
            opened.verify()


def _orientation(opened: ImageFile) -> int:
    """The orientation, 1 to 8 as in EXIF; 1 (upright) if the metadata is absent or unreadable."""
    with _quiet():
        try:
            return int(opened.getexif().get(_ORIENTATION_TAG, 1))
        except Exception:
            return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image, grey_16_bit: Grey16) -> Image.Image:
    via = image
    if image.mode in ("P", "PA"):
        via = image.convert("RGBA")
    elif image.mode == _GREY_16_BIT and grey_16_bit == "scaled":
        via = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    rgb = via.convert("RGB")
    rgb.info.clear()
    return rgb
