"""A folder of images: every image below it, by path, with its metadata.

Metadata comes from `STEM.txt` and `STEM.json` beside the image, from tables and from folder names (see
`imagefolder`). The folder is listed once (see `listing`); its shards are slices of that list. An image that
is a link out of the folder is reported and not followed.
"""

import json
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from indexer.sources import metadata
from indexer.sources.digest import listing_digest
from indexer.sources.imagefolder import class_folders, read_tables
from indexer.sources.keys import printable, unsafe_because
from indexer.sources.layout import is_image, is_tar
from indexer.sources.listing import leads_out, link_places
from indexer.sources.options import SourceOptions
from indexer.sources.sample import IMAGE_SUFFIXES, MAX_IMAGE_BYTES, MAX_METADATA_BYTES, BadSample, Sample
from indexer.sources.unused import UnusedReason, other_file
from scopeview.errors import BadReason

# What lies about in folders of images and is none. Any other file counts as a bad image: it might be one.
_TEXTS = {
    "css",
    "csv",
    "htm",
    "html",
    "ini",
    "json",
    "jsonl",
    "log",
    "md",
    "toml",
    "tsv",
    "txt",
    "xml",
    "yaml",
}
_ARCHIVES = {
    *("7z", "arrow", "bin", "bz2", "db", "gz", "h5", "npy", "npz", "parquet", "pdf", "pkl", "rar", "sqlite"),
    *("tar", "tgz", "tbz2", "txz", "xz", "zip", "zst"),
}
_OTHER_SUFFIXES = (
    _TEXTS | _ARCHIVES | {"ipynb", "js", "license", "md5", "py", "readme", "rst", "sh", "sha256", "yml"}
)


class Entry(NamedTuple):
    """One file of the listing; paths are relative to the folder, with `/`."""

    path: str
    sidecars: tuple[str, ...]
    is_duplicate: bool
    """True if an earlier image has the same key."""
    row: str = ""
    """The image's row in a table beside the images: its columns as JSON."""
    class_folder: str = ""
    """The name of the image's folder, if folders stand for classes."""

    @property
    def key(self) -> str:
        return _stem(self.path)


@dataclass(frozen=True)
class FolderShard:
    root: Path
    name: str
    entries: tuple[Entry, ...]
    options: SourceOptions

    def fingerprint(self) -> str:
        """A digest of names, sizes and table rows: the images are not read."""
        paths = (path for entry in self.entries for path in (entry.path, *entry.sidecars))
        sizes = [(path, _size_or_gone(self.root / path)) for path in paths]
        said = [(text, 0) for entry in self.entries for text in (entry.row, entry.class_folder) if text]
        return listing_digest([*sizes, *said])

    def samples(self) -> Iterator[Sample | BadSample]:
        for entry in self.entries:
            yield self._read(entry)

    def _read(self, entry: Entry) -> Sample | BadSample:
        path, key = printable(entry.path), entry.key
        unsafe = unsafe_because(key)
        if unsafe:
            return BadSample(printable(key), BadReason.UNSAFE_KEY, f"{path}: {unsafe}")
        if not is_image(entry.path):
            accepted = ", ".join(sorted(IMAGE_SUFFIXES))
            return BadSample(key, BadReason.UNSUPPORTED, f"{path}: only names ending in {accepted} are read")
        if entry.is_duplicate:
            return BadSample(key, BadReason.DUPLICATE_KEY, f"{path}: another image before it is named {key}")
        try:
            image = self._contents(entry.path, MAX_IMAGE_BYTES)
        except _RefusedError as refusal:
            return BadSample(key, refusal.reason, f"{path}: {refusal}")
        if not image:
            return BadSample(key, BadReason.EMPTY, f"{path} has 0 bytes")
        record = metadata.Record()
        described = self._describe(entry, record)
        return Sample(key, image, **described._asdict(), parts=record.parts())

    def _describe(self, entry: Entry, record: metadata.Record) -> metadata.Metadata:
        contents: dict[str, bytes] = {}
        is_refused = False
        for path in entry.sidecars:
            try:
                contents[_suffix(path)] = self._contents(path, MAX_METADATA_BYTES)
            except _RefusedError:
                is_refused = True
        described = metadata.from_files(
            contents.get("json"),
            contents.get("txt"),
            entry.class_folder.encode("utf-8", "replace") or None,
            names=("", "txt", "folder"),
            row=json.loads(entry.row) if entry.row else None,
            options=self.options,
            record=record,
        )
        return described._replace(note=BadReason.BAD_METADATA) if is_refused else described

    def _contents(self, path: str, max_bytes: int) -> bytes:
        """The file's bytes. Raises `_RefusedError`; never opens a pipe, since reading it may never end."""
        file = self.root / path
        try:
            if not self.options.follow_links and leads_out(file, link_places(self.root)):
                raise _RefusedError(BadReason.UNSAFE_KEY, "a link out of the folder (see --follow-links)")
            found = file.stat()
            if not stat.S_ISREG(found.st_mode):
                raise _RefusedError(BadReason.UNSUPPORTED, "not a regular file")
            if found.st_size > max_bytes:
                raise _RefusedError(
                    BadReason.TOO_LARGE, f"{found.st_size} bytes, at most {max_bytes} are read"
                )
            return file.read_bytes()
        except (OSError, RuntimeError) as error:  # RuntimeError: links that go round in a circle
            raise _RefusedError(
                BadReason.UNREADABLE, getattr(error, "strerror", None) or str(error)
            ) from error


class _RefusedError(Exception):
    def __init__(self, reason: BadReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def folder_shards(
    root: Path, files: Sequence[str], images_per_shard: int, options: SourceOptions
) -> tuple[tuple[FolderShard, ...], list[tuple[str, str]]]:
    """Returns shards `folder-00000`, ..., each with `images_per_shard` files that are or may be images.

    Also returns (reason, path) of each file that is not an image and belongs to none.
    """
    tables = read_tables(root, files, options)
    folders = class_folders([path for path in files if is_image(path)], options)
    entries = list(_entries(files, tables.rows, folders))
    shards = tuple(
        FolderShard(root, f"folder-{number:05d}", tuple(entries[start : start + images_per_shard]), options)
        for number, start in enumerate(range(0, len(entries), images_per_shard))
    )
    read = {path for entry in entries for path in (entry.path, *entry.sidecars)} | tables.read
    return shards, [*tables.unused, *((_why_unused(path), path) for path in files if path not in read)]


def _entries(files: Iterable[str], rows: Mapping[str, str], folders: Mapping[str, str]) -> Iterator[Entry]:
    listed = frozenset(files)
    keys: set[str] = set()
    for path in sorted(listed):
        if _suffix(path) in _OTHER_SUFFIXES:
            continue
        stem = _stem(path)
        sidecars = tuple(name for name in (f"{stem}.json", f"{stem}.txt") if name in listed)
        if not is_image(path):
            yield Entry(path, (), is_duplicate=False)
            continue
        yield Entry(path, sidecars, stem in keys, rows.get(path, ""), folders.get(path, ""))
        keys.add(stem)


def _why_unused(path: str) -> str:
    return UnusedReason.OTHER_KIND if is_tar(path) else other_file(path)


def _stem(path: str) -> str:
    """`a/b.c.jpg` -> `a/b.c`; a name without a dot is its own stem."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _suffix(path: str) -> str:
    """`a/b.JPG` -> `jpg`; a name without a dot in lower case."""
    return path.rpartition("/")[2].rpartition(".")[2].lower()


def _size_or_gone(path: Path) -> int:
    """The size in bytes, or -1 for a file that no longer exists (which changes the fingerprint)."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
