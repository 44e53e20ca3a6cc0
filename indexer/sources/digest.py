"""A cheap fingerprint of files: the same for a copy elsewhere, another one when a file has changed.

It reads both ends of a file and its size, not all of it: an edit in the middle that keeps the length goes
unnoticed, which is the price of not reading terabytes twice. Times are left out: copying changes them.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_END_BYTES = 64 * 1024


def file_digest(path: Path) -> str:
    """Hex sha256 of the name, the size and the first and last 64 KB. Raises `OSError`."""
    size = path.stat().st_size
    digest = hashlib.sha256(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
    with path.open("rb") as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()


def listing_digest(sizes: Iterable[tuple[str, int]]) -> str:
    """Hex sha256 of (relative path, size in bytes) pairs, in the order given."""
    digest = hashlib.sha256()
    for name, size in sizes:
        digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
