"""Which kind of source a listing is, by one rule for folders and URLs. Knows paths only.

Tars and Parquet files with images, at any depth, are the data set; a few images in other folders (a banner, a
preview) are then ignored. If images lie in the archives' own folders, or are many, or if both kinds of
archive exist, the source is ambiguous and refused; `--source-kind` then chooses.
"""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from indexer.sources.keys import printable
from indexer.sources.options import SourceOptions
from indexer.sources.sample import IMAGE_SUFFIXES, Kind
from indexer.sources.unused import UnusedReason, other_file
from scopeview.errors import SourceError

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PARQUET_SUFFIX = ".parquet"
STATS_SUFFIX = "_stats.json"
MAX_LOOSE_IMAGES = 20
ACCEPTED = (
    "accepted are: a folder of images (jpg, jpeg, png, webp, gif), a .tar (also .tar.gz, .tgz, .tar.bz2 or"
    " .tar.xz) or a folder of them (WebDataset), a .parquet with a column of image bytes or a folder of them"
)
_FILES: dict[Kind, str] = {"webdataset": ".tar", "parquet": ".parquet", "folder": "image"}


class Layout(NamedTuple):
    kind: Kind
    paths: list[str]
    """The archives, sorted; for a folder of images all its files."""
    unused: list[tuple[str, str]]
    """(reason, path) of all other files; empty for a folder of images, which decides that for itself."""


def choose_layout(
    root: str, files: Sequence[str], options: SourceOptions, has_images: Callable[[str], bool | None]
) -> Layout:
    """Chooses the kind of source. `has_images` says whether a Parquet file has images (None: unreadable).

    Raises `SourceError` if there is nothing to index, or if it is unclear which of several kinds is meant.
    """
    kind = options.kind
    tars = [path for path in files if is_tar(path)]
    images = [path for path in files if is_image(path)]
    tables = {} if kind == "folder" else _tables(files, tars, has_images)
    # An unreadable one may be a table beside the images; where nothing else is there, it is the data set.
    counts = kind == "parquet" or any(tables.values()) or not (tars or images)
    parquets = [path for path, holds in tables.items() if holds is not False] if counts else []
    found: dict[Kind, list[str]] = {"webdataset": tars, "parquet": parquets, "folder": images}
    chosen = kind or _only_kind(root, found)
    if not found[chosen]:
        wanted = f", and no {_FILES[chosen]} files" if kind else ""
        wanted += f", and no images in a column {options.image_key!r}" if options.image_key and tables else ""
        raise SourceError(f"{root} holds {summary(files)}{wanted}: nothing to index; {ACCEPTED}")
    if chosen == "folder":
        return Layout(chosen, list(files), [])
    listed = set(files)
    counts_of = (count_file_of(path, listed) for path in found[chosen])
    used = {*found[chosen], *(path for path in counts_of if path)}
    unused = [(_why_unused(path, tables), path) for path in files if path not in used]
    return Layout(chosen, sorted(found[chosen]), unused)


def is_tar(path: str) -> bool:
    return path.lower().endswith(TAR_SUFFIXES)


def is_parquet(path: str) -> bool:
    return path.lower().endswith(PARQUET_SUFFIX)


def is_image(path: str) -> bool:
    return PurePosixPath(path).suffix[1:].lower() in IMAGE_SUFFIXES


def archive_stem(path: str) -> str:
    """`a/00000.tar.gz` -> `a/00000`."""
    for suffix in sorted((*TAR_SUFFIXES, PARQUET_SUFFIX), key=len, reverse=True):
        if path.lower().endswith(suffix):
            return path[: -len(suffix)]
    return path


def stats_of(tar: str) -> str:
    """The path of img2dataset's statistics for a tar, such as `00000_stats.json`."""
    return archive_stem(tar) + STATS_SUFFIX


def table_of(tar: str) -> str:
    """The path of img2dataset's table for a tar, such as `00000.parquet`."""
    return archive_stem(tar) + PARQUET_SUFFIX


def count_file_of(tar: str, files: Container[str]) -> str | None:
    """The one of `files` that states how many samples the tar holds, or None."""
    return next((path for path in (stats_of(tar), table_of(tar)) if path in files), None)


def shard_names(paths: Sequence[str]) -> list[str]:
    """Distinct names usable for files: `a/00000.tar` -> `a--00000`; equal ones also get their suffix."""
    short = [_flat(archive_stem(path)) for path in paths]
    times = Counter(short)
    names: dict[str, None] = {}
    for path, name in zip(paths, short, strict=True):
        unique = name if times[name] == 1 else _flat(path)
        while unique in names:
            unique += "~"
        names[unique] = None
    return list(names)


def _flat(path: str) -> str:
    return path.replace("/", "--")


def summary(files: Sequence[str]) -> str:
    """Counts files by suffix, the commonest first, such as `12 .txt, 3 .parquet`."""
    kinds = Counter(PurePosixPath(file).suffix.lower() or "without extension" for file in files)
    return ", ".join(f"{count} {printable(kind)}" for kind, count in kinds.most_common(5)) or "no files"


def _tables(
    files: Sequence[str], tars: Sequence[str], has_images: Callable[[str], bool | None]
) -> dict[str, bool | None]:
    """Whether each Parquet file has images. One named like a tar is img2dataset's table and has none."""
    stems = {archive_stem(path) for path in tars}
    return {
        path: False if archive_stem(path) in stems else has_images(path) for path in files if is_parquet(path)
    }


def _only_kind(root: str, found: dict[Kind, list[str]]) -> Kind:
    """Returns the only kind of source found ("folder" if none). Raises `SourceError` for several."""
    archives = [path for kind, paths in found.items() if kind != "folder" for path in paths]
    folders = {str(PurePosixPath(path).parent) for path in archives}
    loose = found["folder"]
    apart = all(str(PurePosixPath(path).parent) not in folders for path in loose)
    ignores_images = bool(archives) and apart and len(loose) <= MAX_LOOSE_IMAGES
    kinds = [kind for kind, paths in found.items() if paths and not (kind == "folder" and ignores_images)]
    if len(kinds) > 1:
        named = " and ".join(_FILES[kind] for kind in kinds)
        first = ", ".join(f"{len(found[kind])} such as {printable(found[kind][0])}" for kind in kinds)
        choices = " or ".join(f"--source-kind {kind}" for kind in kinds)
        raise SourceError(
            f"{root} mixes {named} files ({first}): give the folder or file that is meant, or index it with"
            f" {choices}"
        )
    return kinds[0] if kinds else "folder"


def _why_unused(path: str, tables: dict[str, bool | None]) -> str:
    """The reason why a file beside the archives is not used."""
    if is_image(path):
        return UnusedReason.LOOSE_IMAGE
    if is_tar(path):
        return UnusedReason.OTHER_KIND
    if is_parquet(path):
        holds = tables[path]
        if holds is None:
            return UnusedReason.UNREADABLE_TABLE
        return UnusedReason.OTHER_KIND if holds else UnusedReason.NO_IMAGES
    return UnusedReason.LONE_STATISTICS if path.endswith(STATS_SUFFIX) else other_file(path)
