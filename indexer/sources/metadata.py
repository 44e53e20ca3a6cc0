"""Reads caption, source URL, label and safety scores from JSON, text files, tables and Parquet columns.

Column names vary by release (`TEXT`, `text`, `caption`), so they are compared without regard to case, and `_`
counts as a space. The caption is the first of: `ENG TEXT` (the English translation in LAION's multilingual
lists, in the language that the model's text encoder reads), the text file beside the image, the columns in
the order below. An option can name one place instead, and then no other is used.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from indexer.sources.keys import printable
from indexer.sources.options import SourceOptions
from indexer.sources.sample import Parts
from scopeview.errors import BadReason

_ENGLISH_COLUMN = "eng text"
_CAPTION_COLUMNS = (
    *("caption", "text", "captions", "texts", "txt", "sentences", "description", "alt text", "alt"),
    *("title", "prompt"),
)
_URL_COLUMNS = ("url", "source url", "image url")
_LABEL_COLUMNS = (
    *("wnid", "label", "cls", "labels", "class", "class name", "class label", "category", "fine label"),
    *("synset", "species", "target", "coarse label"),
)
_SCORES = ("punsafe", "pwatermark")
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0+")
_MAX_NAMES = 50
_MAX_NAME_CHARS = 60

COLUMNS = frozenset({_ENGLISH_COLUMN, *_SCORES, *_CAPTION_COLUMNS, *_URL_COLUMNS, *_LABEL_COLUMNS})
"""Every column name that is read, as `column_name` spells it."""

_Named = tuple[str, Any]
_Part = TypeVar("_Part")


class Metadata(NamedTuple):
    caption: str | None = None
    source_url: str | None = None
    label: str | None = None
    punsafe: float | None = None
    pwatermark: float | None = None
    note: BadReason | None = None
    """`BAD_METADATA` when there was metadata that could not be read."""


class Record:
    """Records where the parts of one sample were found, and which files and columns were not used."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._there: dict[str, None] = {}

    def there(self, names: Iterable[str]) -> None:
        """Adds files and columns that the sample has."""
        self._there |= dict.fromkeys(names)

    def take(self, part: str, name: str) -> None:
        self._taken[part] = name

    def first(
        self, part: str, places: Iterable[_Named], convert: Callable[[object], _Part | None]
    ) -> _Part | None:
        """Returns the first of the places that holds the part, and records it."""
        for name, value in places:
            converted = convert(value)
            if converted is not None:
                self.take(part, name)
                return converted
        return None

    def parts(self) -> Parts:
        used = set(self._taken.values())
        unused = [name for name in self._there if name not in used][:_MAX_NAMES]
        taken = tuple((part, printable(name, _MAX_NAME_CHARS)) for part, name in self._taken.items())
        return Parts(taken, tuple(printable(name, _MAX_NAME_CHARS) for name in unused))


def column_name(name: str) -> str:
    """The spelling in which columns are compared: `ENG_TEXT` -> `eng text`."""
    return name.lower().replace("_", " ")


def from_columns(
    columns: Mapping[str, Any],
    *,
    txt: str | None = None,
    cls: str | None = None,
    names: tuple[str, str, str] = ("", "txt", "cls"),
    options: SourceOptions | None = None,
    record: Record | None = None,
) -> Metadata:
    """Reads `columns`, a JSON object or a table row, with `txt` and `cls`, the text and label beside it.

    `names` are the record's names for the source of the columns (empty: just the column), the text and the
    label.
    """
    options, record = options or SourceOptions(), record or Record()
    holder, txt_name, cls_name = names
    found = _Columns(columns, holder)
    record.there([*found.names(), *(name for name, text in ((txt_name, txt), (cls_name, cls)) if text)])
    captions = [*found([_ENGLISH_COLUMN]), (txt_name, txt), *found(_CAPTION_COLUMNS)]
    labels = [*found(_LABEL_COLUMNS), (cls_name, cls)]
    if options.caption_key is not None:
        captions = [*_called(options.caption_key, txt_name, txt), *found([options.caption_key])]
    if options.label_key is not None:
        labels = [*_called(options.label_key, cls_name, cls), *found([options.label_key])]
    return Metadata(
        caption=record.first("caption", captions, _text),
        source_url=record.first("source_url", found(_URL_COLUMNS), _web_url),
        label=record.first("label", labels, _label),
        punsafe=record.first("punsafe", found(["punsafe"]), _number),
        pwatermark=record.first("pwatermark", found(["pwatermark"]), _number),
    )


def from_files(
    json_bytes: bytes | None,
    txt: bytes | None,
    cls: bytes | None = None,
    *,
    names: tuple[str, str, str] = ("json", "txt", "cls"),
    row: Mapping[str, Any] | None = None,
    options: SourceOptions | None = None,
    record: Record | None = None,
) -> Metadata:
    """Reads the files beside an image. An unreadable one loses its content, never the image: see `note`.

    `row` is a table's row for the image; where the JSON has the same column, the JSON wins.
    """
    columns, json_is_bad = _parse_object(json_bytes)
    caption, txt_is_bad = _decode(txt)
    label, cls_is_bad = _decode(cls)
    metadata = from_columns(
        {**(row or {}), **columns}, txt=caption, cls=label, names=names, options=options, record=record
    )
    is_bad = json_is_bad or txt_is_bad or cls_is_bad
    return metadata._replace(note=BadReason.BAD_METADATA) if is_bad else metadata


class _Columns:
    """Columns by the spelling in which they are compared; of two equal ones the first counts."""

    def __init__(self, columns: Mapping[str, Any], holder: str) -> None:
        self._columns: dict[str, _Named] = {}
        for name, value in columns.items():
            self._columns.setdefault(column_name(str(name)), (f"{holder} {name}".strip(), value))

    def __call__(self, names: Iterable[str]) -> list[_Named]:
        """The columns with these names that exist, in the order of `names`."""
        wanted = map(column_name, names)
        return [self._columns[name] for name in wanted if name in self._columns]

    def names(self) -> list[str]:
        return [name for name, _ in self._columns.values()]


def _called(key: str, name: str, text: str | None) -> list[_Named]:
    """The file's text, if the option names that file."""
    return [(name, text)] if key.lower() == name.lower() else []


def _parse_object(json_bytes: bytes | None) -> tuple[dict[str, Any], bool]:
    """The JSON object, and whether the file held anything else instead."""
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


def _text(value: object) -> str | None:
    """The text unchanged, except that lone surrogates, which no file format accepts, become U+FFFD.

    For a list, its first text: an image may have several captions.
    """
    if isinstance(value, list | tuple):
        return next((text for text in map(_text, value) if text is not None), None)
    if isinstance(value, bytes):
        value, _ = _decode(value)
    if not isinstance(value, str) or not value.strip():
        return None
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _label(value: object) -> str | None:
    """A label as text; whole numbers without `.0`, several labels separated by commas."""
    if isinstance(value, list | tuple):
        return ", ".join(label for label in map(_label, value) if label is not None) or None
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    text = _text(str(value) if isinstance(value, int | float) else value)
    whole = _WHOLE_NUMBER.fullmatch(text or "")
    return whole[1] if whole else text


def _web_url(value: object) -> str | None:
    url = _text(value)
    if url is None or any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return None
    # A user and a password in it are nobody's business, and no part of where the image is.
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url


def _number(value: object) -> float | None:
    """A finite number, or None: NaN is how tables say "unknown"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
