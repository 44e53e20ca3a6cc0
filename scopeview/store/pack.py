"""A pack: many small blobs (thumbnails, grid sprites) in one file, found by number in constant time.

`NAME.pack` holds the blobs end to end; `NAME.offsets.npy` holds int64 offsets, one more than there are blobs,
so blob i is bytes [offsets[i], offsets[i + 1]). An empty range means that there is no blob with that number.
`NAME.checksums.npy` holds the CRC-32 of each blob, which is checked whenever the blob is read; packs of older
indexes have none. The offsets are written last: a pack without them is unfinished.
"""

import os
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal

import numpy as np

from scopeview.errors import DamagedError, IndexFormatError
from scopeview.store.files import atomic_write


def offsets_path(pack: Path) -> Path:
    return pack.with_suffix(".offsets.npy")


def checksums_path(pack: Path) -> Path:
    return pack.with_suffix(".checksums.npy")


class PackWriter:
    """Appends blobs in order of their number; a context manager that keeps the whole pack or nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = [0]
        self._checksums: list[int] = []
        self._stack = ExitStack()

    def __enter__(self) -> "PackWriter":
        with self._stack:  # nothing is left open, or behind, when the file cannot be made
            part = self._stack.enter_context(atomic_write(self._path))
            self._handle = self._stack.enter_context(part.open("wb"))
            self._stack = self._stack.pop_all()
        return self

    def append(self, blob: bytes | None) -> None:
        """Appends the blob with the next number; None leaves the number empty."""
        self._handle.write(blob or b"")
        self._offsets.append(self._offsets[-1] + len(blob or b""))
        self._checksums.append(zlib.crc32(blob or b""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            _save(checksums_path(self._path), np.asarray(self._checksums, dtype=np.uint32))
            _save(offsets_path(self._path), np.asarray(self._offsets, dtype=np.int64))


def write_pack(path: Path, blobs: Iterable[bytes | None]) -> None:
    """Writes the blobs in order; None leaves its number empty."""
    with PackWriter(path) as writer:
        for blob in blobs:
            writer.append(blob)


def add_checksums(path: Path) -> None:
    """Adds checksums of the present blobs to a pack of an older version; does nothing if it has them."""
    if checksums_path(path).exists():
        return
    pack = Pack(path)
    checksums = [zlib.crc32(blob or b"") for blob in pack]
    pack.close()
    _save(checksums_path(path), np.asarray(checksums, dtype=np.uint32))


def _save(path: Path, array: np.ndarray[Any, np.dtype[Any]]) -> None:
    with atomic_write(path) as part, part.open("wb") as handle:
        np.save(handle, array)


class Pack:
    """Random access to a written pack. Safe to share between threads (positioned reads, no seek)."""

    def __init__(self, path: Path) -> None:
        """Opens the pack. Raises `IndexFormatError` if a file is missing or their sizes disagree."""
        self.path = path
        try:
            self._offsets = read_npy(offsets_path(path))
            self._checksums = read_npy(checksums_path(path)) if checksums_path(path).exists() else None
            self._handle = os.open(path, os.O_RDONLY)
        except (OSError, ValueError) as error:
            raise IndexFormatError(f"{path}: not a readable pack ({error}); rebuild the index") from error
        # Also when it is dropped unclosed: of many packs, a reader forgets those it has not used for long.
        self.close = weakref.finalize(self, os.close, self._handle)
        if not _fits(self._offsets, os.fstat(self._handle).st_size):
            self.close()
            raise IndexFormatError(
                f"{path}: its size does not fit {offsets_path(path).name}; rebuild the index"
            )
        if self._checksums is not None and self._checksums.shape != (len(self),):
            self.close()
            raise IndexFormatError(f"{checksums_path(path)} is not of {len(self)} blobs; rebuild the index")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __iter__(self) -> Iterator[bytes | None]:
        return (self.read(number) for number in range(len(self)))

    def read(self, number: int) -> bytes | None:
        """The blob with this number; None if it is empty or out of range.

        Raises `DamagedError` for a blob that is not what was written.
        """
        if not 0 <= number < len(self):
            return None
        start, end = int(self._offsets[number]), int(self._offsets[number + 1])
        blob = os.pread(self._handle, end - start, start)
        whole = len(blob) == end - start
        if not whole or (self._checksums is not None and zlib.crc32(blob) != self._checksums[number]):
            raise DamagedError(f"{self.path}: blob {number} is damaged; put back a copy of the file")
        return blob or None


def _fits(offsets: np.ndarray[Any, np.dtype[Any]], n_bytes: int) -> bool:
    """True if the offsets divide a file of this size into blobs, end to end."""
    if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) == 0:
        return False
    return bool(offsets[0] == 0 and offsets[-1] == n_bytes and (np.diff(offsets) >= 0).all())


_HEADER_LOCK = Lock()
"""Held while numpy reads the header of a `.npy` file.

numpy reads it with `ast`, whose depth counter all threads share. Python 3.11 may collect garbage in the
meantime and switch to another thread; then either can fail with "SystemError: AST constructor recursion depth
mismatch" (python/cpython#106905 is about the same counter). A server opens packs from many threads.
"""


def open_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array, memory-mapped and read-only. Raises `OSError`, or `ValueError` for a file without an array.

    Reading beyond the end of a mapped file that was truncated kills the process, so files that stay open are
    loaded with `read_npy` instead.
    """
    return _load(path, "r")


def read_npy(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    """The array in memory. Raises `OSError`, or `ValueError` for a file without an array."""
    return _load(path, None)


def _load(path: Path, mmap_mode: Literal["r"] | None) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        with _HEADER_LOCK:
            array: np.ndarray[Any, np.dtype[Any]] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of a damaged header numpy raises whatever parsing it ends in
        raise ValueError(f"{path.name} is no readable array: {error!r}") from error
    return array
