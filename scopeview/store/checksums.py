"""Checks that each file of an index is the one the manifest describes, before its content is used.

The manifest has the sha256 of each file, as `sha256sum` prints it; each blob of a pack has a CRC-32, which
takes microseconds (see `pack`). A file is checked when it is first opened and again whenever it has changed.
When a server starts, only sizes are checked, and the content of small files. Indexes older than version 3
have no checksums: for them, only changes since the index was opened are found.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from scopeview.errors import DamagedError
from scopeview.store.files import (
    FIGURES,
    NORMALIZATION,
    REPORT,
    SHARD_MARKER,
    TOMBSTONES,
    file_sha256,
)
from scopeview.store.manifest import FileRecord, Manifest

log = logging.getLogger("scopeview.store")

SMALL_BYTES = 1024**2
"""Files up to this size are checked in full at the start: 60 ms for an index of 500,000 images."""

_NOT_FOR_PAGES = frozenset({FIGURES, NORMALIZATION, REPORT, SHARD_MARKER, TOMBSTONES, "images.parquet"})
_ADVICE = "put back a copy of it, or make the index again"
_MAX_NAMED = 5


class _Signature(NamedTuple):
    """Changes when a file is written to or replaced."""

    inode: int
    n_bytes: int
    modified_ns: int


class IndexFiles:
    """The files of one finished index. Safe to share between threads."""

    def __init__(self, index_dir: Path, manifest: Manifest) -> None:
        self._dir = index_dir
        self._records: Mapping[str, FileRecord] | None = manifest.files
        self._seen: dict[str, _Signature] = {}  # of files that were as they should be
        if manifest.files is None:
            _warn_once(index_dir)
            self._seen = {
                path.relative_to(index_dir).as_posix(): _signature(path)
                for path in index_dir.rglob("*")
                if path.is_file()
            }

    def expects(self, path: Path) -> bool:
        """True if the index has such a file; one of an older version may lack some."""
        return path.is_file() if self._records is None else self._name(path) in self._records

    def check(self, path: Path) -> None:
        """Raises `DamagedError` for a file that is missing, damaged or from another index."""
        name = self._name(path)
        try:
            signature = _signature(path)
        except OSError as error:
            raise DamagedError(f"{path} cannot be opened ({error.strerror}); {_ADVICE}") from error
        if self._seen.get(name) == signature:
            return
        if self._records is None:
            raise DamagedError(f"{path} has changed since the index was opened; start again to read it")
        for problem in _differences(path, self._records.get(name)):
            raise DamagedError(f"{path} {problem}; {_ADVICE}")
        self._seen[name] = signature

    def check_size(self, path: Path) -> None:
        """Like `check`, by size alone: for files whose parts are each checked when they are read."""
        if self._records is None:
            self.check(path)
            return
        for problem in _size_differences(path, self._records.get(self._name(path))):
            raise DamagedError(f"{path} {problem}; {_ADVICE}")

    def check_at_start(self) -> None:
        """Checks the sizes of all files, and the content of small ones.

        Raises `DamagedError` for files that pages need; problems of other files are logged.
        """
        found = dict(self._problems_at_start())
        for name in (name for name in found if not is_needed_by_server(name)):
            log.warning("%s %s; %s. Pages do without it", self._dir / name, found[name], _ADVICE)
        needed = [f"{name} {problem}" for name, problem in found.items() if is_needed_by_server(name)]
        if needed:
            more = f"; and {len(needed) - _MAX_NAMED} more" if len(needed) > _MAX_NAMED else ""
            raise DamagedError(f"{self._dir}: {'; '.join(needed[:_MAX_NAMED])}{more}: {_ADVICE}")

    def problems(self, advance: Callable[[], None] = lambda: None) -> Iterator[tuple[str, str]]:
        """Yields every file that differs from the manifest, and how. Reads all files in full."""
        for name, record in (self._records or {}).items():
            for problem in _differences(self._dir / name, record):
                yield name, problem
            advance()

    def _problems_at_start(self) -> Iterator[tuple[str, str]]:
        for name, record in (self._records or {}).items():
            in_whole = record.size <= SMALL_BYTES and not name.endswith(".pack")  # whose blobs are compared
            compare = _differences if in_whole else _size_differences
            for problem in compare(self._dir / name, record):
                yield name, problem

    def _name(self, path: Path) -> str:
        return path.relative_to(self._dir).as_posix()


class UnfinishedFiles:
    """The files of an index that is still being made: nothing is known about them, so all checks pass."""

    def expects(self, path: Path) -> bool:
        return path.is_file()

    def check(self, path: Path) -> None: ...

    def check_size(self, path: Path) -> None: ...


def is_needed_by_server(name: str) -> bool:
    """True if a server needs this file for its pages; other files are for reruns and records."""
    last = PurePosixPath(name).name
    return last not in _NOT_FOR_PAGES and not last.startswith("codes-")


def file_record(path: Path) -> FileRecord:
    return FileRecord(size=path.stat().st_size, sha256=file_sha256(path))


def _differences(path: Path, record: FileRecord | None) -> Iterator[str]:
    """Yields how a file differs from its record in size or sha256: at most one difference."""
    problem = next(_size_differences(path, record), None)
    if problem is None and record is not None:
        try:
            same = file_sha256(path) == record.sha256
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
        else:
            problem = None if same else "is damaged, or another index's: its sha256 is not the manifest's"
    if problem:
        yield problem


def _size_differences(path: Path, record: FileRecord | None) -> Iterator[str]:
    """Yields how a file differs from its record in size: at most one difference."""
    if record is None:
        yield "is not among the files that the manifest names"
    elif not path.is_file():
        yield "is missing"
    elif (size := path.stat().st_size) != record.size:
        yield f"is damaged: it has {size:,} bytes, the manifest says {record.size:,}"


def _signature(path: Path) -> _Signature:
    found = path.stat()
    return _Signature(found.st_ino, found.st_size, found.st_mtime_ns)


@cache
def _warn_once(index_dir: Path) -> None:
    log.warning(
        "%s has no checksums, since an older version made it: damaged files may go unnoticed;"
        " 'scopeview describe' adds them",
        index_dir,
    )
