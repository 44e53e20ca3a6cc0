"""Files under a source that are not indexed, by reason: every file left out is counted."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from indexer.sources.keys import printable

_EXAMPLES = 3
_MAX_SUFFIX_CHARS = 8


class UnusedReason(StrEnum):
    HIDDEN = "hidden"
    LINK_OUT = "link that leaves the folder"
    LINK_BACK = "link to a folder above it"
    LINK_AGAIN = "link to a folder that many links lead to"
    UNREADABLE_FOLDER = "folder that cannot be read"
    NOT_A_FILE = "not a regular file"
    LOOSE_IMAGE = "image outside the archives"
    OTHER_KIND = "archive of the kind that is not read"
    OTHER_ARCHIVE = "archive of a format that is not read"
    NO_IMAGES = "table without images"
    UNREADABLE_TABLE = "table that cannot be read"
    BAD_ROW = "row of a table that cannot be read"
    LONE_ROW = "row of a table without its image"
    LONE_STATISTICS = "statistics of a tar that is not there"


_OTHER_ARCHIVES = (".zip", ".7z", ".rar", ".zst", ".gz", ".bz2", ".xz", ".arrow", ".tfrecord", ".lmdb", ".h5")


@dataclass(frozen=True)
class Unused:
    """Files that share one reason."""

    reason: str
    n: int
    examples: tuple[str, ...]
    """The first paths, printable, relative to the source."""


def count_unused(found: Iterable[tuple[str, str]]) -> tuple[Unused, ...]:
    """Counts (reason, path) pairs by reason, the commonest first."""
    paths: dict[str, list[str]] = {}
    for reason, path in found:
        paths.setdefault(str(reason), []).append(path)
    counted = [
        Unused(reason, len(some), tuple(printable(path) for path in sorted(some)[:_EXAMPLES]))
        for reason, some in paths.items()
    ]
    return tuple(sorted(counted, key=lambda unused: (-unused.n, unused.reason)))


def other_file(path: str) -> str:
    """The reason for a file of a kind that is never read, such as `other file (.md)`."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _OTHER_ARCHIVES:
        return f"{UnusedReason.OTHER_ARCHIVE} ({suffix})"
    plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= _MAX_SUFFIX_CHARS
    return f"other file ({suffix})" if plain else "other file"
