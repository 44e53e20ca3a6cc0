"""A tar read strictly: in memory only, and with every way of ending early told apart from the end.

`tarfile` (like webdataset, which builds on it) ends quietly at a header it cannot parse and at a file that
just stops; here the end must be the two zero blocks that close an archive, with nothing after them.
It does not know what a sample is.
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
    """The file does not begin as a tar does."""


class CutError(Exception):
    """A member's bytes end before its size."""


class Member(NamedTuple):
    name: str
    size: int
    offset: int
    """Where its bytes begin in the file."""
    is_plain: bool
    """A regular file whose bytes are stored in one piece: no link, device or sparse file."""


class Cut(NamedTuple):
    """The archive stops, or stops making sense, before its end."""

    offset: int
    what: str


class TarReader:
    """Members in file order, then, if the archive does not end as it should, one `Cut`."""

    def __init__(self, path: Path) -> None:
        """Raises `NotATarError`, or `OSError` when the file cannot be opened."""
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
        """All bytes of a plain member. Raises `CutError`. The caller has looked at `member.size`."""
        assert member.is_plain
        self._file.seek(member.offset)
        content = self._file.read_up_to(member.size)
        if len(content) < member.size:
            raise CutError(f"{member.name} holds {len(content)} of {member.size} bytes")
        return content

    def _check_end(self, offset: int) -> Cut | None:
        """Two zero blocks, then zeros alone: the padding that most writers add."""
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
    """Refuses `tarfile` a read whose size, taken from a header, is negative or large."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)

    def read_up_to(self, size: int) -> bytes:
        return super().read(size)
