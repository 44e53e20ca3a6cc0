"""Unpacks a compressed tar into a temporary file, since the tar reader moves back and forth.

Errors in the compressed data are kept apart from errors of this machine's disk: the first cost the end of the
shard, the second end the run.
"""

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from indexer.sources.tar import NotATarError
from scopeview.errors import DiskFullError

_CHUNK_BYTES = 1024**2
_FREE_BYTES = 1024**3
_MAX_RATIO = 20
"""Images hardly compress. A file that expands more than this, beyond a gigabyte, is an attack."""
_OPENERS: dict[str, Callable[[Path], Any]] = {
    "gz": gzip.open,
    "bz2": bz2.open,
    "xz": lzma.open,
}
_ENDINGS = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".tbz2": "bz2", ".xz": "xz", ".txz": "xz"}


class Unpacked(NamedTuple):
    path: Path
    problem: str | None = None
    """Why the unpacked file is incomplete; None if it is complete."""


@contextmanager
def unpacked(path: Path) -> Iterator[Unpacked]:
    """Unpacks the file; one that is not compressed is returned as it is.

    Raises `OSError` or `NotATarError` if nothing of it can be read, `DiskFullError` if the disk is full.
    """
    method = _ENDINGS.get(path.suffix.lower())
    if method is None:
        yield Unpacked(path)
        return
    with tempfile.NamedTemporaryFile(prefix="scopeview-", suffix=".tar") as plain:
        with _OPENERS[method](path) as packed:
            problem = _unpack(path, packed, plain)
        if problem and not plain.tell():
            raise NotATarError(problem)
        yield Unpacked(Path(plain.name), problem)


def _unpack(path: Path, packed: Any, plain: Any) -> str | None:
    """The problem with the compressed file, if any."""
    left = max(_FREE_BYTES, _MAX_RATIO * path.stat().st_size)
    problem: str | None = None
    while True:
        try:
            chunk = packed.read1(_CHUNK_BYTES)  # all that comes before an error
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            chunk, problem = b"", f"its compression breaks off ({error})"
        left -= len(chunk)
        if left < 0:
            chunk, problem = b"", "it unpacks to far more than images would"
        _write(path, plain, chunk)
        if not chunk:
            return problem


def _write(path: Path, plain: Any, chunk: bytes) -> None:
    try:
        plain.write(chunk)
        plain.flush()
    except OSError as error:
        raise DiskFullError(
            f"{path} cannot be unpacked into {tempfile.gettempdir()} ({error.strerror}); make room there, or"
            " name another folder by TMPDIR: what is encoded is kept, the same command goes on from there"
        ) from error
