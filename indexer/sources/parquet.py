"""Parquet with image bytes in a column, as Hugging Face `datasets` writes it. One file is one shard.

`columns` decides which columns are read. The key is the column `key`, `__key__` or `id`, made safe and unique
if it is not, or else the row number. Rows are read a few at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import IOBase
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.sources import metadata
from indexer.sources.columns import Columns, find_columns, image_bytes, with_class_names
from indexer.sources.digest import file_digest
from indexer.sources.keys import printable, unsafe_because
from indexer.sources.layout import archive_stem
from indexer.sources.options import SourceOptions
from indexer.sources.sample import MAX_IMAGE_BYTES, BadSample, Sample
from scopeview.errors import BadReason

_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class ParquetShard:
    path: Path
    own_name: str | None = None
    """The shard's name; None: the file's name."""
    options: SourceOptions = field(default_factory=SourceOptions)

    @property
    def name(self) -> str:
        return self.own_name or archive_stem(self.path.name)

    def fingerprint(self) -> str:
        return file_digest(self.path)

    def samples(self) -> Iterator[Sample | BadSample]:
        """Reads a damaged file up to the damage, then reports the rows lost according to its footer."""
        n_rows, n_expected = 0, 0
        seen: set[str] = set()
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, page_checksum_verification=True) as file:
                n_expected = file.metadata.num_rows
                columns = find_columns(file.schema_arrow, self.options)
                if columns is None:
                    names = ", ".join(file.schema_arrow.names)
                    yield self._unreadable(f"no column of images among {names}", n_expected)
                    return
                for row in _rows(file, columns):
                    yield self._convert(row, columns, n_rows, seen)
                    n_rows += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            yield self._unreadable(f"{error} (after {n_rows} rows)", n_expected - n_rows)

    def _unreadable(self, what: str, n_lost: int) -> BadSample:
        detail = printable(f"{self.path.name}: {what}", max_chars=500)
        return BadSample(printable(self.name), BadReason.UNREADABLE_SHARD, detail, max(1, n_lost))

    def _convert(
        self, row: dict[str, Any], columns: Columns, number: int, seen: set[str]
    ) -> Sample | BadSample:
        key, source = self._key(row.get(columns.key) if columns.key else None, columns, number, seen)
        where = f"{self.path.name}, row {number}"
        if unsafe := unsafe_because(key):
            return BadSample(printable(key), BadReason.UNSAFE_KEY, f"{where}: {unsafe}")
        image = image_bytes(row[columns.image])
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
        record = _record(row, columns, source)
        described = metadata.from_columns(with_class_names(row, columns), options=self.options, record=record)
        return Sample(key, image, **described._asdict(), parts=record.parts())

    def _key(self, given: Any, columns: Columns, number: int, seen: set[str]) -> tuple[str, str]:
        """A key that is safe and unique in the shard, and where it came from."""
        row_number = f"{number:09d}"
        key, source = f"{self.name}/{row_number}", "row number"
        if given is not None:
            escaped = f"{self.name}/{quote(str(given), safe='', errors='replace')}"
            if not unsafe_because(f"{self.name}/{given}"):
                key, source = f"{self.name}/{given}", f"{columns.key}"
            elif not unsafe_because(escaped):
                key, source = escaped, f"{columns.key}, escaped"
        while key in seen:
            key, source = f"{key}~{row_number}", f"{source}, with the row number where it repeats"
        return key, source


def has_images(file: Path | IOBase, options: SourceOptions) -> bool | None:
    """True if the file has a column of images; None if it is no complete Parquet file. Reads only the footer.

    For a file that is not local, errors in reading it are raised.
    """
    try:
        return find_columns(pq.read_schema(file), options) is not None
    except (pa.ArrowException, ValueError):
        return None
    except OSError:
        if isinstance(file, Path):
            return None
        raise


def _record(row: dict[str, Any], columns: Columns, key_source: str) -> metadata.Record:
    """Records where the row's parts were found, except for its metadata."""
    record = metadata.Record()
    record.there(columns.unused)
    record.take("image", columns.image)
    record.take("key", key_source)
    image = row[columns.image]
    if isinstance(image, list) and len(image) > 1:
        record.there([f"{columns.image} after the first"])
    return record


def _rows(file: pq.ParquetFile, columns: Columns) -> Iterator[dict[str, Any]]:
    """Yields the rows. Raises pyarrow's errors for damaged pages."""
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns.read(), use_threads=False):
        yield from batch.to_pylist()
