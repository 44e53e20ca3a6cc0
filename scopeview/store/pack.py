"""A pack: many small blobs (thumbnails, grid sprites) in one file, found by number in constant time.

`NAME.pack` holds the blobs end to end; `NAME.offsets.npy` holds int64 offsets, one more than there are blobs,
so blob i is bytes [offsets[i], offsets[i + 1]). An empty range means that there is no blob of that number.
The offsets are written last: a pack without them is unfinished.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scopeview.errors import IndexFormatError
from scopeview.store.files import written_aside


def offsets_path(pack: Path) -> Path:
    return pack.with_suffix(".offsets.npy")


def write_pack(path: Path, blobs: Iterable[bytes | None]) -> int:
    """Writes the blobs in order (None leaves its number empty); returns how many numbers there are."""
    offsets = [0]
    with written_aside(path) as part, part.open("wb") as handle:
        for blob in blobs:
            handle.write(blob or b"")
            offsets.append(offsets[-1] + len(blob or b""))
        handle.flush()
    with written_aside(offsets_path(path)) as part, part.open("wb") as handle:
        np.save(handle, np.asarray(offsets, dtype=np.int64))
    return len(offsets) - 1


class Pack:
    """Random access to a written pack. Safe to share between threads (positioned reads, no seek)."""

    def __init__(self, path: Path) -> None:
        """Raises `IndexFormatError` when either file is missing or they disagree about the size."""
        self.path = path
        try:
            self._offsets = np.load(offsets_path(path), mmap_mode="r", allow_pickle=False)
            self._handle = os.open(path, os.O_RDONLY)
        except (OSError, ValueError) as error:
            raise IndexFormatError(f"{path}: not a readable pack ({error}); rebuild the index") from error
        if self._offsets.ndim != 1 or int(self._offsets[-1]) != os.fstat(self._handle).st_size:
            self.close()
            raise IndexFormatError(
                f"{path}: its size does not fit {offsets_path(path).name}; rebuild the index"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, number: int) -> bytes | None:
        """The blob of that number, or None where it is empty or out of range."""
        if not 0 <= number < len(self):
            return None
        start, end = int(self._offsets[number]), int(self._offsets[number + 1])
        return os.pread(self._handle, end - start, start) or None

    def close(self) -> None:
        os.close(self._handle)
