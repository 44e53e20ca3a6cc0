"""Every file below a folder, and what is not entered or followed, by reason.

Links are followed as long as they stay inside the folder, without going round in a circle. In a snapshot of
the Hugging Face cache all files are links to the blobs beside it, which count as inside. A link that leads
elsewhere could show a stranger's data set whatever this machine holds: it is followed only where asked for.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from indexer.sources.layout import is_parquet, is_tar
from indexer.sources.unused import UnusedReason
from scopeview.errors import SourceError

_MAX_ENTRIES = 8
"""Times that links lead into one folder: a few folders with links to all others make no end of paths."""


@dataclass
class FolderListing:
    """Paths are relative to the folder, with `/`."""

    files: list[str] = field(default_factory=list)
    """Sorted; among them links to nothing, and images that are links out or pipes: these count as bad."""
    unused: list[tuple[UnusedReason, str]] = field(default_factory=list)


def list_files(root: Path, *, follow_links: bool = False) -> FolderListing:
    """Raises `OSError` where the folder itself cannot be read."""
    found, places = FolderListing(), None if follow_links else link_places(root)
    entered: Counter[str] = Counter()
    waiting = [("", frozenset({os.path.realpath(root)}))]
    os.scandir(root).close()
    while waiting:
        here, above = waiting.pop()
        for entry in _entries(root, here, found):
            path = f"{here}{entry.name}"
            if entry.name.startswith("."):
                found.unused.append((UnusedReason.HIDDEN, path))
            elif refused := _refusal(entry, above, places, entered):
                found.unused.append((refused, path))
            elif not _is_folder(entry):
                found.files.append(path)
            else:
                waiting.append((f"{path}/", above | {os.path.realpath(entry.path)}))
    found.files.sort()
    return found


def link_places(root: Path) -> tuple[Path, ...]:
    """The folders to which links may lead: `root`, and where it is in the Hub's cache, the blobs there."""
    real = root.resolve()
    for folder in (real, *real.parents):
        blobs = folder.parent.parent / "blobs"
        if folder.parent.name == "snapshots" and blobs.is_dir():
            return real, blobs
    return (real,)


def leads_out(path: Path, places: tuple[Path, ...] | None) -> bool:
    """Whether `path` is a link to somewhere outside `places`. A circle raises `OSError` or `RuntimeError`."""
    if places is None or not path.is_symlink():
        return False
    target = path.resolve()
    return not any(target.is_relative_to(place) for place in places)


def snapshot_of(root: Path) -> Path:
    """`root`, or where it is a repository in the Hub's cache, its one snapshot or that of `refs/main`."""
    snapshots = root / "snapshots"
    if not (snapshots.is_dir() and (root / "blobs").is_dir()):
        return root
    main = root / "refs" / "main"
    names = sorted(path.name for path in snapshots.iterdir() if path.is_dir())
    name = (
        main.read_text(errors="replace").strip() if main.is_file() else names[0] if len(names) == 1 else None
    )
    if name not in names:
        raise SourceError(f"{root} is a cache of the Hub: give one of its snapshots ({', '.join(names)})")
    return snapshots / name


def _entries(root: Path, here: str, found: FolderListing) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(root / here) as entries:
            yield from entries
    except OSError:
        found.unused.append((UnusedReason.UNREADABLE_FOLDER, here))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in a circle
        return False


def _refusal(
    entry: "os.DirEntry[str]",
    above: frozenset[str],
    places: tuple[Path, ...] | None,
    entered: Counter[str],
) -> UnusedReason | None:
    """Why a folder is not entered, or an archive is not opened."""
    if not _is_folder(entry):
        return _file_refusal(entry, places)
    if not entry.is_symlink():
        return None
    if leads_out(Path(entry.path), places):
        return UnusedReason.LINK_OUT
    real = os.path.realpath(entry.path)
    if real in above:
        return UnusedReason.LINK_BACK
    entered[real] += 1
    return UnusedReason.LINK_AGAIN if entered[real] > _MAX_ENTRIES else None


def _file_refusal(entry: "os.DirEntry[str]", places: tuple[Path, ...] | None) -> UnusedReason | None:
    """Links to nothing are left to whoever reads them."""
    if not (is_tar(entry.name) or is_parquet(entry.name)) or not Path(entry.path).exists():
        return None
    if leads_out(Path(entry.path), places):
        return UnusedReason.LINK_OUT
    return None if entry.is_file() else UnusedReason.NOT_A_FILE
