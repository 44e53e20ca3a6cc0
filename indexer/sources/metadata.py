"""Caption, source URL, label and safety scores, out of JSON, text files and Parquet columns.

Column names vary by release (`TEXT`, `text`, `caption`), so they are matched without regard to case, and
`_` is a space. The caption is the first of: `ENG TEXT` (the English translation that LAION's multilingual
lists carry: the words the model's own text tower reads), the text file beside the image, `caption`, `TEXT`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from scopeview.errors import BadReason

_CAPTION_COLUMNS = ("caption", "text")
_ENGLISH_COLUMN = "eng text"
_URL_COLUMNS = ("url", "source url")
_LABEL_COLUMNS = ("wnid", "label", "cls")

COLUMNS = frozenset(
    {_ENGLISH_COLUMN, "punsafe", "pwatermark", *_CAPTION_COLUMNS, *_URL_COLUMNS, *_LABEL_COLUMNS}
)
"""Every column name that is read, as `column_name` spells it."""


class Metadata(NamedTuple):
    caption: str | None = None
    source_url: str | None = None
    label: str | None = None
    punsafe: float | None = None
    pwatermark: float | None = None
    note: BadReason | None = None
    """`BAD_METADATA` when there was metadata that could not be read."""


def column_name(name: str) -> str:
    """The spelling under which columns are compared: `ENG_TEXT` -> `eng text`."""
    return name.lower().replace("_", " ")


def from_columns(columns: Mapping[str, Any], *, txt: str | None = None, cls: str | None = None) -> Metadata:
    """`columns` as a JSON object or a table row has them; `txt` and `cls`: the files of those names."""
    named: dict[str, Any] = {}
    for name, value in columns.items():
        named.setdefault(column_name(str(name)), value)
    captions = [named.get(_ENGLISH_COLUMN), txt, *(named.get(name) for name in _CAPTION_COLUMNS)]
    return Metadata(
        caption=_first(map(_text, captions)),
        source_url=_first(_web_url(named.get(name)) for name in _URL_COLUMNS),
        label=_first([*(_label(named.get(name)) for name in _LABEL_COLUMNS), _label(cls)]),
        punsafe=_number(named.get("punsafe")),
        pwatermark=_number(named.get("pwatermark")),
    )


def from_files(json_bytes: bytes | None, txt: bytes | None, cls: bytes | None = None) -> Metadata:
    """From the files beside an image. Unreadable ones cost their content, never the image: see `note`."""
    columns, json_is_bad = _parse_object(json_bytes)
    caption, txt_is_bad = _decode(txt)
    label, cls_is_bad = _decode(cls)
    metadata = from_columns(columns, txt=caption, cls=label)
    is_bad = json_is_bad or txt_is_bad or cls_is_bad
    return metadata._replace(note=BadReason.BAD_METADATA) if is_bad else metadata


def _parse_object(json_bytes: bytes | None) -> tuple[dict[str, Any], bool]:
    """The object, and whether there was something else."""
    if json_bytes is None:
        return {}, False
    try:
        parsed = json.loads(json_bytes)
    except (ValueError, RecursionError):
        return {}, True
    return (parsed, False) if isinstance(parsed, dict) else ({}, True)


def _decode(text: bytes | None) -> tuple[str | None, bool]:
    if text is None:
        return None, False
    try:
        return text.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return None, True


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _text(value: object) -> str | None:
    """Text as it is, except that lone surrogates, which no file format takes, become U+FFFD."""
    if not isinstance(value, str) or not value.strip():
        return None
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _label(value: object) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _web_url(value: object) -> str | None:
    url = _text(value)
    if url is None or any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None


def _number(value: object) -> float | None:
    """A finite number, or None: NaN is how tables say "unknown"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
