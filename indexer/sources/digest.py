"""A cheap fingerprint of files: equal for a copy elsewhere, different once a file has changed.

It covers a file's size and both ends, not all of it: an edit in the middle that keeps the length goes
unnoticed, which is the price of not reading terabytes twice. Times are left out, since copying changes them.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_END_BYTES = 64 * 1024


def file_digest(path: Path) -> str:
    """Hex sha256 of name, size and both ends. An unreadable file gives another digest, not an error."""
    try:
        size = path.stat().st_size
        ends = _ends(path, size)
    except OSError:
        size, ends = -1, b""
    return hashlib.sha256(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape") + ends).hexdigest()


def _ends(path: Path, size: int) -> bytes:
    """The first and the last 64 KB of a file."""
    with path.open("rb") as file:
        first = file.read(_END_BYTES)
        file.seek(max(0, size - _END_BYTES))
        return first + file.read(_END_BYTES)


def listing_digest(sizes: Iterable[tuple[str, int]]) -> str:
    """Hex sha256 of (relative path, size in bytes) pairs, in the order given."""
    digest = hashlib.sha256()
    for name, size in sizes:
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
