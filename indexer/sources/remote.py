"""Sources behind a URL (`hf://`, `s3://`, `gs://`, all that fsspec knows), fetched a shard at a time.

A shard lies on this machine only while it is read; what is wrong with its content is then found as it would
be in a local file. What is wrong with the network is no damage: it is tried again, and then ends the run.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import fsspec

from indexer.sources.parquet import ParquetShard
from indexer.sources.sample import BadSample, Sample, Shard, Source
from indexer.sources.webdataset import TarShard, stats_path
from scopeview.errors import SourceError, TransferError

_TRIES = 3
_VERSIONS = ("ETag", "etag", "md5Hash", "checksum", "blob_id", "oid", "sha")
"""What file systems call that which changes with a file's content; where there is none, its size must do."""
_ACCEPTED = "accepted are .tar (WebDataset) or .parquet files with a column of image bytes"


@dataclass(frozen=True)
class RemoteShard:
    """One tar or Parquet file behind a URL."""

    url: str
    name: str
    size: int
    version: str  # changes with the content, as far as the file system says
    stats_url: str | None = None  # img2dataset's `_stats.json`
    stats_expected: bool = False

    def fingerprint(self) -> str:
        return sha256(f"{self.name}\0{self.size}\0{self.version}".encode()).hexdigest()

    def samples(self) -> Iterator[Sample | BadSample]:
        """Raises `TransferError` when the file cannot be fetched."""
        with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
            path = Path(folder) / (self.name + PurePosixPath(self.url).suffix)
            _fetch(self.url, path)
            if self.stats_url is not None:
                _fetch(self.stats_url, stats_path(path))
            yield from self._local(path).samples()

    def _local(self, path: Path) -> Shard:
        return ParquetShard(path) if path.suffix == ".parquet" else TarShard(path, self.stats_expected)


def is_url(source: Path | str) -> bool:
    return "://" in str(source)


def open_remote(url: str) -> Source:
    """Lists what is there; reads none of it. Raises `SourceError`, or `TransferError` for the network."""
    try:
        system, root = fsspec.core.url_to_fs(url)
        found: dict[str, Any] = system.find(root, detail=True)
    except (ImportError, ValueError) as error:
        raise SourceError(f"source {url} cannot be opened: {error}") from error
    except FileNotFoundError as error:
        raise SourceError(f"source {url} does not exist; {_ACCEPTED}") from error
    except OSError as error:
        raise TransferError(f"source {url} cannot be listed: {error}") from error
    for suffix, kind in ((".tar", "webdataset"), (".parquet", "parquet")):
        paths = sorted(path for path in found if path.endswith(suffix))
        if paths:
            return _source(kind, url, system, root, paths, found)  # type: ignore[arg-type]
    raise SourceError(f"{url} holds {len(found)} files and no shard among them; {_ACCEPTED}")


def _source(
    kind: Literal["webdataset", "parquet"],
    url: str,
    system: Any,
    root: str,
    paths: list[str],
    found: dict[str, Any],
) -> Source:
    stats = {path: f"{path.removesuffix('.tar')}_stats.json" for path in paths if path.endswith(".tar")}
    expected = any(name in found for name in stats.values())
    shards = tuple(
        RemoteShard(
            url=system.unstrip_protocol(path),
            name=_name(path, root),
            size=int(found[path].get("size") or 0),
            version=_version(found[path]),
            stats_url=system.unstrip_protocol(stats[path]) if stats.get(path) in found else None,
            stats_expected=expected,
        )
        for path in paths
    )
    return Source(kind, Path(url.rstrip("/")), shards)


def _name(path: str, root: str) -> str:
    """Below the root, without extension and without slashes: unique, and usable as a file name."""
    inside = path.removeprefix(root).strip("/") or PurePosixPath(path).name
    return inside.rpartition(".")[0].replace("/", "--")


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
