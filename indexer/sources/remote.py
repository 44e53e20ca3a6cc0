"""Sources behind a URL (`hf://`, `s3://`, `gs://`, all that fsspec knows), fetched a shard at a time.

A shard lies on this machine only while it is read; errors in its content are then found as in a local file.
Network errors do not count as damage: the request is tried again, and a lasting error ends the run.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from indexer.sources.layout import (
    Layout,
    choose_layout,
    count_file_of,
    is_parquet,
    shard_names,
    stats_of,
    summary,
)
from indexer.sources.options import SourceOptions
from indexer.sources.parquet import ParquetShard, has_images
from indexer.sources.sample import BadSample, Sample, Shard, Source
from indexer.sources.unused import UnusedReason, count_unused
from indexer.sources.webdataset import TarShard
from scopeview.errors import SourceError, TransferError

_TRIES = 3
_VERSIONS = ("ETag", "etag", "md5Hash", "checksum", "blob_id", "oid", "sha")
"""Fields by which file systems state a version of a file's content; without any, the size is used."""
_FOOTERS_AT_ONCE = 8
_ACCEPTED = "accepted are .tar (WebDataset) or .parquet files with a column of image bytes"


@dataclass(frozen=True)
class RemoteShard:
    """One tar or Parquet file behind a URL."""

    url: str
    name: str
    size: int
    version: str  # changes with the content, as far as the file system says
    count_url: str | None = None  # what says how many samples a tar holds
    count_version: str = ""
    stats_expected: bool = False
    options: SourceOptions = field(default_factory=SourceOptions)

    def fingerprint(self) -> str:
        said = f"{self.name}\0{self.size}\0{self.version}"
        counted = f"\0{self.count_version}" if self.count_url else ""
        return sha256((said + counted).encode()).hexdigest()

    def samples(self) -> Iterator[Sample | BadSample]:
        """Fetches the file and yields its samples. Raises `TransferError` if it cannot be fetched."""
        with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
            path = Path(folder) / PurePosixPath(self.url).name
            _fetch(self.url, path)
            if self.count_url is not None:
                _fetch(self.count_url, path.with_name(PurePosixPath(self.count_url).name))
            yield from self._local(path).samples()

    def _local(self, path: Path) -> Shard:
        if is_parquet(path.name):
            return ParquetShard(path, self.name, self.options)
        return TarShard(path, self.stats_expected, self.name, self.options)


def is_url(source: Path | str) -> bool:
    return "://" in str(source)


def open_remote(url: str, options: SourceOptions) -> Source:
    """Opens a source by names and Parquet footers. Raises `SourceError`, or `TransferError` (network)."""
    try:
        system, root = fsspec.core.url_to_fs(url)
        found: dict[str, Any] = system.find(root, detail=True)
    except (ImportError, ValueError) as error:
        raise SourceError(f"source {url} cannot be opened: {error}") from error
    except FileNotFoundError as error:
        raise SourceError(f"source {url} does not exist; {_ACCEPTED}") from error
    except OSError as error:
        raise TransferError(f"source {url} cannot be listed: {error}") from error
    if not found:
        raise SourceError(f"source {url} does not exist or holds no files; {_ACCEPTED}")
    files = {_inside(path, root): info for path, info in found.items()}
    hidden = [path for path in files if any(part.startswith(".") for part in path.split("/"))]
    seen = sorted(files.keys() - set(hidden))
    layout = choose_layout(url, seen, options, _with_images(system, files, seen, options))
    if layout.kind == "folder":
        raise SourceError(
            f"{url} holds {summary(seen)}: loose images behind a URL are not read, copy them to this machine;"
            f" {_ACCEPTED}"
        )
    shards = tuple(_shards(system, layout, files, options))
    left = [(UnusedReason.HIDDEN, path) for path in hidden]
    return Source(layout.kind, Path(url.rstrip("/")), shards, count_unused([*left, *layout.unused]))


def _inside(path: str, root: str) -> str:
    """The path relative to the root; just the name if the root is the file itself."""
    return path.removeprefix(root).strip("/") or PurePosixPath(path).name


def _with_images(
    system: Any, files: Mapping[str, Any], seen: Sequence[str], options: SourceOptions
) -> Callable[[str], bool | None]:
    """Calls `has_images` for all Parquet files, several footers at a time. Raises `TransferError`."""
    paths = [path for path in seen if is_parquet(path)]

    def look(path: str) -> bool | None:
        address = files[path]["name"]
        try:
            with system.open(address) as file:
                return has_images(file, options)
        except OSError as error:
            raise TransferError(f"{system.unstrip_protocol(address)} cannot be read: {error}") from error

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        return dict(zip(paths, pool.map(look, paths), strict=True)).__getitem__


def _shards(
    system: Any, layout: Layout, files: Mapping[str, Any], options: SourceOptions
) -> Iterator[RemoteShard]:
    is_tars = layout.kind == "webdataset"
    stats_expected = is_tars and any(stats_of(path) in files for path in layout.paths)
    for path, name in zip(layout.paths, shard_names(layout.paths), strict=True):
        counts = count_file_of(path, files) if is_tars else None
        yield RemoteShard(
            url=system.unstrip_protocol(files[path]["name"]),
            name=name,
            size=_size(files[path]),
            version=_version(files[path]),
            count_url=system.unstrip_protocol(files[counts]["name"]) if counts else None,
            count_version=f"{_size(files[counts])}\0{_version(files[counts])}" if counts else "",
            stats_expected=stats_expected,
            options=options,
        )


def _size(info: dict[str, Any]) -> int:
    return int(info.get("size") or 0)


def _version(info: dict[str, Any]) -> str:
    named = (info.get(name) for name in _VERSIONS)
    return str(next((value for value in named if value), ""))


def _fetch(url: str, path: Path) -> None:
    for left in reversed(range(_TRIES)):
        try:
            system, remote = fsspec.core.url_to_fs(url)
            system.get_file(remote, str(path))
            return
        except OSError as error:
            if left == 0:
                raise TransferError(
                    f"{url} cannot be fetched ({error}); what is encoded is kept: the same command goes on"
                    " from there"
                ) from error
