"""Parquet with image bytes in a column, as Hugging Face `datasets` writes it. One file is one shard.

The image is a column `image` (or `img`, `jpg`, `png`, `webp`, `bytes`): binary, or a struct with a field
`bytes`. The key is the column `key`, `__key__` or `id`, else the row number. Rows are read a few at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.sources import metadata
from indexer.sources.digest import file_digest
from indexer.sources.keys import printable, unsafe_because
from indexer.sources.layout import archive_stem
from indexer.sources.sample import MAX_IMAGE_BYTES, BadSample, Sample
from scopeview.errors import BadReason

_IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image bytes")
_KEY_COLUMNS = ("key", "__key__", "id")
_ROWS_AT_ONCE = 32


class Columns(NamedTuple):
    """The columns that are read, as the file spells them."""

    image: str
    key: str | None
    others: list[str]


@dataclass(frozen=True)
class ParquetShard:
    path: Path
    own_name: str | None = None
    """None: the file's."""

    @property
    def name(self) -> str:
        return self.own_name or archive_stem(self.path.name)

    def fingerprint(self) -> str:
        return file_digest(self.path)

    def samples(self) -> Iterator[Sample | BadSample]:
        n_rows = 0
        seen: set[str] = set()
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, page_checksum_verification=True) as file:
                columns = find_columns(file.schema_arrow)
                if columns is None:
                    yield self._unreadable(f"no column of images among {', '.join(file.schema_arrow.names)}")
                    return
                for row in _rows(file, columns):
                    yield self._convert(row, columns, n_rows, seen)
                    n_rows += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            yield self._unreadable(f"{error} (after {n_rows} rows)")

    def _unreadable(self, what: str) -> BadSample:
        return BadSample(
            printable(self.name),
            BadReason.UNREADABLE_SHARD,
            printable(f"{self.path.name}: {what}", max_chars=500),
        )

    def _convert(
        self, row: dict[str, Any], columns: Columns, number: int, seen: set[str]
    ) -> Sample | BadSample:
        given = row.get(columns.key) if columns.key else None
        key = f"{self.name}/{number:09d}" if given is None else f"{self.name}/{given}"
        where = f"{self.path.name}, row {number}"
        unsafe = unsafe_because(key)
        if unsafe:
            return BadSample(printable(key), BadReason.UNSAFE_KEY, f"{where}: {unsafe}")
        if key in seen:
            return BadSample(key, BadReason.DUPLICATE_KEY, f"{where}: this key came before")
        image = row[columns.image]
        if image is None:
            return BadSample(
                key, BadReason.NO_IMAGE, f"{where}: no image bytes (a path alone is not followed)"
            )
        if not image:
            return BadSample(key, BadReason.EMPTY, f"{where}: the image has 0 bytes")
        if len(image) > MAX_IMAGE_BYTES:
            detail = f"{where}: {len(image)} bytes, at most {MAX_IMAGE_BYTES} are read"
            return BadSample(key, BadReason.TOO_LARGE, detail)
        seen.add(key)
        described = metadata.from_columns({name: row[name] for name in columns.others})
        return Sample(key, image, **described._asdict())


def find_columns(schema: pa.Schema) -> Columns | None:
    """Which columns to read, or None when none holds images."""
    names = {metadata.column_name(name): name for name in reversed(schema.names)}
    image = next((names[name] for name in _IMAGE_COLUMNS if _holds_bytes(schema, names.get(name))), None)
    if image is None:
        return None
    key = next((names[name] for name in map(metadata.column_name, _KEY_COLUMNS) if name in names), None)
    others = [name for name in schema.names if metadata.column_name(name) in metadata.COLUMNS]
    return Columns(image, key, others)


def has_images(file: Path | IOBase) -> bool | None:
    """Whether the file has a column of images; None when it is no whole Parquet file. Reads the footer alone.

    Raises what a file that lies elsewhere raises.
    """
    try:
        return find_columns(pq.read_schema(file)) is not None
    except (pa.ArrowException, ValueError):
        return None
    except OSError:
        if isinstance(file, Path):
            return None
        raise


def _holds_bytes(schema: pa.Schema, name: str | None) -> bool:
    if name is None:
        return False
    kind = schema.field(name).type
    if pa.types.is_struct(kind):
        position = kind.get_field_index("bytes")
        return position >= 0 and _is_binary(kind.field(position).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _rows(file: pq.ParquetFile, columns: Columns) -> Iterator[dict[str, Any]]:
    """Rows with the image as bytes or None. Raises what pyarrow raises for damaged pages."""
    names = list(dict.fromkeys([columns.image, *([columns.key] if columns.key else []), *columns.others]))
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
        for row in batch.to_pylist():
            if isinstance(row[columns.image], dict):
                row[columns.image] = row[columns.image]["bytes"]
            yield row
