"""The samples that a source yields, and placeholders for those that cannot be used.

Does not know where a sample comes from, nor whether its bytes decode: that is found out later.
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
    """Where a sample's parts were found, and what was not used. Equal for most samples of a source."""

    taken: tuple[tuple[str, str], ...] = ()
    """Pairs such as (`caption`, `txt`): the part, and the name of its file or column, printable."""
    unused: tuple[str, ...] = ()
    """Names of files and columns that were not used, printable."""


NO_PARTS = Parts()


@dataclass(frozen=True)
class Sample:
    """One image as found, undecoded. Texts are untrusted (anyone's words), but valid UTF-8."""

    key: str
    """A key unique within the source: the path without its extension, or `shard/key`."""
    image: bytes
    caption: str | None = None
    source_url: str | None = None
    """Always an http or https URL."""
    label: str | None = None
    punsafe: float | None = None
    pwatermark: float | None = None
    note: BadReason | None = None
    """Set if the image is used but its metadata could not be read."""
    parts: Parts = NO_PARTS


@dataclass(frozen=True)
class BadSample:
    """A sample that is left out; or a problem of a whole shard, with the shard's name as its key."""

    key: str
    """Made printable if it was not in the source."""
    reason: BadReason
    detail: str
    n_samples: int = 1
    """How many samples it stands for: for a cut shard, those known to be lost."""


@runtime_checkable
class Shard(Protocol):
    """The unit of work and of resuming. Can be pickled; each call of `samples` yields the same samples."""

    @property
    def name(self) -> str:
        """A name unique within the source and usable as a file name."""
        ...

    def fingerprint(self) -> str:
        """Hex digest of the shard: equal for a copy elsewhere, different once a file has changed."""
        ...

    def samples(self) -> Iterator[Sample | BadSample]:
        """The samples in the source's order. Yields problems of the shard as a `BadSample`."""
        ...


@dataclass(frozen=True)
class Source:
    """An image set, cut into shards in a fixed order."""

    kind: Kind
    root: Path
    shards: tuple[Shard, ...]
    unused: tuple[Unused, ...] = ()
    """The files that are not indexed."""
