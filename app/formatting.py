"""Formats numbers, names and dates for people. Pages write figures only through this module."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit

from scopeview.slots import ANY, CLS, EMBED, Layer, Token
from scopeview.vision.patches import cell_of

UNSAFE_ABOVE = 0.5
"""An image whose `punsafe` is above this is blurred until clicked; an operator may set another threshold."""

_HEAT_STEPS = 10
_BLANK = re.compile(r"[\x00-\x20]")
_PLAIN_LINK = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(?::[0-9]+)?(?:[/?#]|$)", re.ASCII)


def exact(value: float) -> str:
    """Formats a number as JSON does, so that `float(exact(x)) == x`."""
    return repr(value)


def count(value: int) -> str:
    """1204 -> `1,204`"""
    return f"{value:,}"


@lru_cache(maxsize=8192)  # a page says most of its figures more than once
def significant(value: float, digits: int = 3) -> str:
    """12.3456 -> `12.3`, 0.00012345 -> `0.000123`: never rounded to zero, never in exponents."""
    if 0.1 <= value < 0.9995 and digits == 3:  # most of them, in a third of the time
        return f"{value:.3f}"
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "undefined"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    return f"{rounded:,.{max(decimals, 0)}f}".replace("-", "−")


def percent(ratio: float) -> str:
    """0.0224 -> `2.24 %`; 1 -> `100 %`"""
    return f"{significant(100 * ratio)} %"


def days(created: str) -> str:
    """ISO 8601 -> `21 November 2026`; text that is not a date stays as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y}"


def moment(timestamp_s: float) -> str:
    """Seconds since 1970 -> `2026-11-21T05:30:00Z`"""
    return datetime.fromtimestamp(timestamp_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def readable_moment(timestamp_s: float) -> str:
    """Seconds since 1970 -> `22 November 2026, 05:30 UTC`"""
    when = datetime.fromtimestamp(timestamp_s, UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def size(n_bytes: int) -> str:
    """10485760 -> `10 MB`"""
    return f"{significant(n_bytes / 1024**2)} MB".replace(".0 ", " ")


def layer_name(layer: Layer) -> str:
    """22 -> `L22`; `embed` stays a word."""
    return layer if layer == EMBED else f"L{layer}"


def feature_name(layer: Layer, feature: int) -> str:
    """`L22 · 31415`"""
    return f"{layer_name(layer)} · {feature}"


def token_name(token: Token) -> str:
    """Returns the token as people write it: the abbreviation `CLS`, others as they are."""
    return "CLS" if token == CLS else token


def at_token(token: Token) -> str:
    """Names a token after "at": `CLS`, `any token`, `token 137`."""
    return {CLS: "CLS", ANY: "any token"}.get(token, f"token {token}")


def token_words(layer: Layer, token: Token, grid_size: int) -> str:
    """Explains a token, in words for a sentence."""
    if layer == EMBED:
        return "the embedding of the whole image"
    if token == CLS:
        return "the CLS token, which summarizes the image"
    if token == ANY:
        return "any token (the maximum over all tokens)"
    cell = cell_of(int(token), grid_size)
    return f"token {token}, the patch at row {cell.row}, column {cell.column} of {grid_size} × {grid_size}"


def place(position: int, grid_size: int) -> str:
    """Token number -> `patch (8, 8)`, row first; 0 -> `CLS`."""
    if not 1 <= position <= grid_size**2:
        return "CLS"
    cell = cell_of(position, grid_size)
    return f"patch ({cell.row}, {cell.column})"


def fraction(value: float | None, highest: float | None) -> float:
    """`value` as a part of `highest`, within 0 and 1; 0 if either is missing or below zero."""
    if value is None or highest is None or highest <= 0:
        return 0.0
    return min(max(value / highest, 0.0), 1.0)


def heat(part: float) -> int:
    """The step of the activation colors, 0 to 9, for a part of the maximum."""
    return min(int(part * _HEAT_STEPS), _HEAT_STEPS - 1)


def is_unsafe(punsafe: float | None, above: float = UNSAFE_ABOVE) -> bool:
    return punsafe is not None and punsafe > above


def safe_link(url: str | None) -> str | None:
    """Returns the URL if it is plain http or https with a host, else None: sources of images are hostile.

    Leaves out a user and password that someone forgot in it.
    """
    if url is None or _BLANK.search(url):
        return None
    if _PLAIN_LINK.match(url):  # nearly all
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def short(text: str | None, limit: int = 140) -> str:
    """One line of at most `limit` characters, cut with an ellipsis."""
    words = " ".join((text or "").split())
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"
