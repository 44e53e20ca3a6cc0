"""Metadata for a folder of images: tables and folder names.

Both follow the rules of Hugging Face's `imagefolder`. Tables are `metadata.jsonl`, `.csv` or `.parquet`,
whose column `file_name` is relative to the table. Folders are classes if all images lie at one depth in
several.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.sources.layout import is_image
from indexer.sources.listing import leads_out, link_places
from indexer.sources.metadata import column_name
from indexer.sources.options import SourceOptions
from indexer.sources.sample import MAX_METADATA_BYTES
from indexer.sources.unused import UnusedReason

_TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_NAME_COLUMNS = ("file name", "image file name", "filename")
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"})
FOLDER = "folder"
"""The value of `--label-key` that selects the folder's name."""


@dataclass
class Tables:
    rows: dict[str, str] = field(default_factory=dict)
    """Image -> its row as JSON, without the column that names it."""
    read: set[str] = field(default_factory=set)
    """The tables themselves."""
    unused: list[tuple[str, str]] = field(default_factory=list)
    """(reason, table) of every table or row that could not be used."""


def read_tables(root: Path, files: Sequence[str], options: SourceOptions) -> Tables:
    """Reads all tables. If two describe an image, the one nearer to it wins."""
    found, images = Tables(), {path for path in files if is_image(path)}
    places = None if options.follow_links else link_places(root)
    tables = [path for path in files if PurePosixPath(path).name.lower() in _TABLES]
    for table in sorted(tables, key=lambda path: (path.count("/"), path)):
        found.read.add(table)
        if not (root / table).is_file():
            found.unused.append((UnusedReason.NOT_A_FILE, table))
            continue
        if leads_out(root / table, places):
            found.unused.append((UnusedReason.LINK_OUT, table))
            continue
        try:
            for row in _rows(root / table):
                _take(found, table, row, images)
        except (OSError, ValueError, csv.Error, pa.ArrowException):
            found.unused.append((UnusedReason.UNREADABLE_TABLE, table))
    return found


def class_folders(images: Sequence[str], options: SourceOptions) -> dict[str, str]:
    """Image -> the name of its folder, if folders are classes: two or more, at one depth, and not splits."""
    parents = {path: PurePosixPath(path).parent for path in images}
    names = {parent.name for parent in parents.values()}
    are_classes = (
        len(names) > 1
        and len({len(parent.parts) for parent in parents.values()}) == 1
        and not {name.lower() for name in names} & _SPLITS
    )
    if not (are_classes or options.label_key == FOLDER):
        return {}
    return {path: parent.name for path, parent in parents.items()}


def _take(found: Tables, table: str, row: Mapping[str, Any] | None, images: set[str]) -> None:
    if row is None:
        found.unused.append((UnusedReason.BAD_ROW, table))
        return
    named = {column_name(str(name)): str(name) for name in row}
    column = next((named[name] for name in _NAME_COLUMNS if name in named), None)
    image = normpath(str(PurePosixPath(table).parent / str(row[column]))) if column else ""
    if image not in images:
        found.unused.append((UnusedReason.LONE_ROW, table))
        return
    found.rows[image] = json.dumps(
        {name: value for name, value in row.items() if name != column}, default=str
    )


def _rows(path: Path) -> Iterator[dict[str, Any] | None]:
    """Yields a table's rows; None for a row that cannot be read."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
    elif path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file, restkey="")
    else:
        with path.open("rb") as file:
            while line := file.readline(MAX_METADATA_BYTES):
                if line.strip():
                    yield _parsed(line)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
