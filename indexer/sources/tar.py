"""Reads a tar strictly: in memory only, telling every kind of early end from the real one.

`tarfile` (like webdataset, which builds on it) ends quietly at a header it cannot parse and at a file that
just stops; here the end must be the two zero blocks that close an archive, with only zeros after them. Does
not know what a sample is.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# What tarfile reads by itself: headers, and the long names and attributes in front of them.
_MAX_HEADER_BYTES = 1024**2
_CHUNK_BYTES = 1024**2


class NotATarError(Exception):
    """The file does not begin like a tar."""


class CutError(Exception):
    """A member has fewer bytes than its header states."""


class Member(NamedTuple):
    name: str
    size: int
    offset: int
    """The position of its first byte in the file."""
    is_plain: bool
    """True for a regular file stored in one piece; False for a link, device or sparse file."""


class Cut(NamedTuple):
    """The archive ends, or becomes unreadable, before its proper end."""

    offset: int
    what: str


class TarReader:
    """Yields members in file order, then one `Cut` if the archive does not end properly."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises `NotATarError`, or `OSError` if it cannot be opened."""
        self._file = _BoundedReader(io.FileIO(path))
        try:
            self._tar = tarfile.TarFile(fileobj=self._file, errors="surrogateescape")
        except (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError) as error:
            self._file.close()
            raise NotATarError(f"not an uncompressed tar: {error}") from error
        except OSError:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Member | Cut]:
        offset = -1
        while True:
            try:
                member = self._tar.next()
            except (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError) as error:
                yield Cut(self._tar.offset, str(error) or type(error).__name__)
                return
            if member is None:
                break
            if self._tar.offset <= offset:  # a negative size would lead back to an earlier member, for ever
                yield Cut(offset, "a member has a negative size")
                return
            offset = self._tar.offset
            self._tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
            if not member.isdir():
                yield Member(
                    member.name, member.size, member.offset_data, member.isreg() and not member.issparse()
                )
        cut = self._check_end(self._tar.offset)
        if cut is not None:
            yield cut

    def read(self, member: Member) -> bytes:
        """All bytes of a plain member. Raises `CutError`. Callers must check `member.size` first."""
        assert member.is_plain
        self._file.seek(member.offset)
        content = self._file.read_up_to(member.size)
        if len(content) < member.size:
            raise CutError(f"{member.name} holds {len(content)} of {member.size} bytes")
        return content

    def _check_end(self, offset: int) -> Cut | None:
        """Checks that the tar ends with two zero blocks and then only zeros, the padding most writers add."""
        self._file.seek(offset)
        closing = self._file.read_up_to(2 * tarfile.BLOCKSIZE)
        if closing.strip(b"\0"):
            return Cut(offset, "no valid header there")
        if len(closing) < 2 * tarfile.BLOCKSIZE:
            return Cut(offset, "the end-of-archive blocks are missing")
        while padding := self._file.read_up_to(_CHUNK_BYTES):
            if padding.strip(b"\0"):
                return Cut(offset, "more data follows the end-of-archive blocks")
        return None


class _BoundedReader(io.BufferedReader):
    """A file whose reads are bounded: `tarfile` takes sizes from headers, which may be negative or huge."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)

    def read_up_to(self, size: int) -> bytes:
        return super().read(size)
