"""Small tars, tables and images for the tests of the sources."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from indexer.sources import BadSample, Sample, Shard


def png(shade: int = 0) -> bytes:
    """A valid image of 4 x 4 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> Path:
    """In the order given; `members` are (name or header, content)."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            header = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def write_table(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def good(shard: Shard) -> list[Sample]:
    return [sample for sample in shard.samples() if isinstance(sample, Sample)]


def bad(shard: Shard) -> list[BadSample]:
    return [sample for sample in shard.samples() if isinstance(sample, BadSample)]


def reasons(shard: Shard) -> list[str]:
    return [sample.reason.name for sample in bad(shard)]
