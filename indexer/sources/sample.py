"""The samples that a source yields, and placeholders for those that cannot be used.

It knows nothing of where a sample comes from, nor whether its bytes decode: that is found out later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from indexer.sources.unused import Unused
from scopeview.errors import BadReason

# Far above any photograph, far below what would exhaust the memory of a machine that decodes several at once.
MAX_IMAGE_BYTES = 64 * 1024**2
MAX_METADATA_BYTES = 1024**2

Kind = Literal["folder", "webdataset", "parquet"]
IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "gif"})


class Parts(NamedTuple):
    """Where the parts of a sample were found, and what of it was left. Equal for most samples of a source."""

    taken: tuple[tuple[str, str], ...] = ()
    """(`caption`, `txt`): what, and the name of the file or column, printable."""
    unused: tuple[str, ...] = ()
    """Names of files and columns that were not used, printable."""


NO_PARTS = Parts()


@dataclass(frozen=True)
class Sample:
    """One image as it was found, undecoded. Texts are hostile (anyone's words), but valid UTF-8."""

    key: str
    """Unique within its source: the path without its extension, or `shard/key`."""
    image: bytes
    caption: str | None = None
    source_url: str | None = None
    """http or https, nothing else."""
    label: str | None = None
    punsafe: float | None = None
    pwatermark: float | None = None
    note: BadReason | None = None
    """Set when the image is used but something beside it was not: unreadable metadata."""
    parts: Parts = NO_PARTS


@dataclass(frozen=True)
class BadSample:
    """A sample that is left out, or, with the shard's name as its key, what is wrong with a whole shard."""

    key: str
    """Printable, whatever it was in the source."""
    reason: BadReason
    detail: str
    n_samples: int = 1
    """How many it stands for: of a shard that was cut, those that are known to be lost."""


@runtime_checkable
class Shard(Protocol):
    """The unit of work and of resuming. Picklable; `samples` can be called again and gives the same again."""

    @property
    def name(self) -> str:
        """Unique within the source, and usable as a file name."""
        ...

    def fingerprint(self) -> str:
        """Hex digest of what the shard is: equal for a copy elsewhere, different when a file has changed."""
        ...

    def samples(self) -> Iterator[Sample | BadSample]:
        """In the source's own order. What is wrong with the shard is yielded as a `BadSample`, not raised."""
        ...


@dataclass(frozen=True)
class Source:
    """An image set, cut into shards in a fixed order."""

    kind: Kind
    root: Path
    shards: tuple[Shard, ...]
    unused: tuple[Unused, ...] = ()
    """The files that are not indexed."""
