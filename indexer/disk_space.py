"""Full disks: which file could not be written, how much space is missing, and how to resume.

Libraries report a full disk in many ways, some without an error number; all become one `DiskFullError`.
Finished shards and parts stay and unfinished ones are removed, so that the same command can resume.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scopeview.errors import DiskFullError
from scopeview.store.files import SHARD_MARKER, WHILE_WRITING

_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# NumPy, DuckDB, safetensors and FAISS give no number; DuckDB also ends where its spill files are limited.
_WORDS = re.compile(
    r"no space left on device|disk quota exceeded|file too large|storagefull|max_temp_directory_size"
    r"|\d+ requested and \d+ written",
    re.IGNORECASE,
)


def is_disk_full(error: BaseException) -> bool:
    """True if the error, or one that caused it, reports a full disk."""
    return any(_mentions_full_disk(one) for one in _chain(error))


@contextmanager
def disk_full_guard(index_dir: Path, needed_bytes: Callable[[], int | None]) -> Iterator[None]:
    """Raises `DiskFullError` if the block runs out of disk space.

    `needed_bytes` is called only then. It returns how many bytes the current step still has to write, or None
    if that is not known yet.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        free_bytes = shutil.disk_usage(index_dir).free
        message = _message(_named_path(error) or str(index_dir), free_bytes, needed_bytes())
        raise DiskFullError(message) from error


def encoding_needs(index_dir: Path, n_shards: int) -> int | None:
    """Bytes that the remaining shards will take, estimated from the finished ones."""
    finished = [path.parent for path in (index_dir / "shards").glob(f"*/{SHARD_MARKER}")]
    n_bytes = sum(size for folder in finished for size in _sizes(folder.iterdir()))
    return (n_shards - len(finished)) * n_bytes // len(finished) if finished else None


def building_needs(index_dir: Path) -> int | None:
    """Bytes that the database and its parts will take, from the codes: both store every pair again."""
    codes = sum(_sizes((index_dir / "shards").glob("*/codes-*.parquet")))
    made = sum(_sizes((index_dir / "build").glob("*.parquet")))
    return max(0, 3 * codes - made) or None


def _sizes(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        if path.is_file():
            yield path.stat().st_size


def _message(path: str, free_bytes: int, needed_bytes: int | None) -> str:
    free = _amount(free_bytes)
    if needed_bytes is None:
        needed = f"this step needs more than the {free} free"
    elif needed_bytes <= free_bytes:  # what writes was refused all the same: by a quota, or in a larger piece
        needed = (
            f"this step needs more than the {free} free, though about {_amount(needed_bytes)} were expected "
            "to suffice; check for a quota or a file size limit"
        )
    else:
        all_of_it, missing = _amount(needed_bytes), _amount(needed_bytes - free_bytes)
        needed = f"{free} free, this step needs about {all_of_it} more: about {missing} are missing"
    return (
        f"{path}: the disk is full ({needed}). Finished parts are kept: free up space and run the same"
        " command again to resume"
    )


def _amount(n_bytes: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


def _mentions_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    return bool(_WORDS.search(str(error)))


def _named_path(error: BaseException) -> str | None:
    """The file that was being written, as the error or one of its causes says."""
    for one in _chain(error):
        for note in getattr(one, "__notes__", ()):
            if note.startswith(WHILE_WRITING):
                return str(note.removeprefix(WHILE_WRITING))
        if isinstance(one, OSError) and one.filename:
            return str(one.filename)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
