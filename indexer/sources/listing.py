"""Lists every file below a folder, and by reason the folders not entered and the links not followed.

Links are followed as long as they stay inside the folder, without going round in a circle. In a snapshot of
the Hugging Face cache all files are links to the blobs beside it, which count as inside. A link that leads
elsewhere could put any file of this machine into someone else's data set, so it is followed only on request.
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
"""How many links into one folder are followed: folders linked to each other give endless paths."""


@dataclass
class FolderListing:
    """Paths are relative to the folder, with `/`."""

    files: list[str] = field(default_factory=list)
    """Sorted. Includes dangling links, and images that are pipes or links out: these count as bad."""
    unused: list[tuple[UnusedReason, str]] = field(default_factory=list)


def list_files(root: Path, *, follow_links: bool = False) -> FolderListing:
    """Lists the folder. Raises `OSError` if the folder itself cannot be read."""
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
    """The folders to which links may lead: `root`, and the blobs if `root` is in the Hub's cache."""
    real = root.resolve()
    for folder in (real, *real.parents):
        blobs = folder.parent.parent / "blobs"
        if folder.parent.name == "snapshots" and blobs.is_dir():
            return real, blobs
    return (real,)


def leads_out(path: Path, places: tuple[Path, ...] | None) -> bool:
    """True if `path` is a link to somewhere outside `places`. A circle raises `OSError` or `RuntimeError`."""
    if places is None or not path.is_symlink():
        return False
    target = path.resolve()
    return not any(target.is_relative_to(place) for place in places)


def snapshot_of(root: Path) -> Path:
    """`root` itself; for a repository in the Hub's cache, the snapshot of `refs/main` or the only one."""
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
    """The reason not to enter a folder or open an archive, or None."""
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
    """The reason not to open an archive, or None. Dangling links are left to the code that reads them."""
    if not (is_tar(entry.name) or is_parquet(entry.name)) or not Path(entry.path).exists():
        return None
    if leads_out(Path(entry.path), places):
        return UnusedReason.LINK_OUT
    return None if entry.is_file() else UnusedReason.NOT_A_FILE
