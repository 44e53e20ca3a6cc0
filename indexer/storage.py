"""Where workers on other machines store their results: a folder that all of them see, or any fsspec URL.

A worker makes a shard's folder on its own disk and hands it over complete, its marker last. The first marker
to arrive is kept: a shard made twice is identical.
"""

import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import fsspec

from indexer.shard_writer import ShardMarker, parse_marker, read_marker
from indexer.sources.remote import is_url
from scopeview.errors import InputError
from scopeview.store.files import SHARD_MARKER, atomic_write, shard_dir, sync_folder


@runtime_checkable
class Storage(Protocol):
    """The storage shared by all machines. Can be pickled; every machine has its own copy of the object."""

    def marker(self, number: int) -> ShardMarker | None:
        """The marker of a complete shard."""
        ...

    def put_shard(self, number: int, folder: Path) -> None:
        """Copies a finished shard's folder into the storage."""
        ...

    def get(self, names: Iterable[str], folder: Path) -> None:
        """Copies files, by their name in the index, into a folder of that layout; keeps existing ones."""
        ...

    def put(self, names: Iterable[str], folder: Path) -> None:
        """Copies files into the storage from a folder with the layout of the index."""
        ...

    def shard_names(self, number: int) -> list[str]:
        """The names of a shard's files in the index, its marker last."""
        ...


@dataclass(frozen=True)
class SharedFolder:
    """The index's own folder, on a file system that all machines see at this path."""

    index_dir: Path

    def marker(self, number: int) -> ShardMarker | None:
        return read_marker(self.index_dir, number)

    def put_shard(self, number: int, folder: Path) -> None:
        final = shard_dir(self.index_dir, number)
        part = final.with_name(f"{final.name}-{uuid.uuid4().hex}.part")
        if self.marker(number) is None:  # half of one that was fetched from elsewhere
            shutil.rmtree(final, ignore_errors=True)
        try:
            shutil.copytree(folder, part)
            sync_folder(part)
            part.rename(final)
        except OSError:
            if self.marker(number) is None:
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync_folder(final.parent)

    def get(self, names: Iterable[str], folder: Path) -> None:
        _copy(names, self.index_dir, folder)

    def put(self, names: Iterable[str], folder: Path) -> None:
        _copy(names, folder, self.index_dir)

    def shard_names(self, number: int) -> list[str]:
        folder = shard_dir(self.index_dir, number)
        names = [path.relative_to(self.index_dir).as_posix() for path in folder.iterdir()]
        return sorted(names, key=_marker_last)


@dataclass(frozen=True)
class Remote:
    """A location that fsspec can reach; `url` corresponds to the index's folder."""

    url: str

    def marker(self, number: int) -> ShardMarker | None:
        system, root = self._open()
        try:
            return parse_marker(system.cat_file(f"{root}/{_shard_name(number)}/{SHARD_MARKER}"))
        except FileNotFoundError:
            return None

    def put_shard(self, number: int, folder: Path) -> None:
        system, root = self._open()
        for path in sorted(folder.iterdir(), key=lambda path: _marker_last(path.name)):
            name = f"{root}/{_shard_name(number)}/{path.name}"
            system.makedirs(name.rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), name)

    def get(self, names: Iterable[str], folder: Path) -> None:
        system, root = self._open()
        for name in names:
            path = folder / name
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            system.get_file(f"{root}/{name}", str(part))
            part.replace(path)

    def put(self, names: Iterable[str], folder: Path) -> None:
        system, root = self._open()
        for name in names:
            system.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(folder / name), f"{root}/{name}")

    def shard_names(self, number: int) -> list[str]:
        system, root = self._open()
        found = system.ls(f"{root}/{_shard_name(number)}", detail=False)
        return sorted((name.removeprefix(f"{root}/") for name in found), key=_marker_last)

    def _open(self) -> tuple[Any, str]:
        system, root = fsspec.core.url_to_fs(self.url)
        return system, root.rstrip("/")


def storage_for(index_dir: Path, shared: str | None, run: str) -> Storage:
    """The storage for a run; `shared` None means that all machines see the index's own folder.

    Results go to a folder below `shared` named after the run, since shards of different runs with the same
    number differ.
    """
    return SharedFolder(index_dir.resolve()) if shared is None else Remote(f"{shared.rstrip('/')}/{run}")


def check_shared_storage(shared: str) -> None:
    """Raises `InputError` if fsspec cannot open the location, before any machine is used."""
    if not is_url(shared):
        raise InputError(
            f"--shared-storage {shared} is no URL; expected such as s3://bucket/folder or file:///mnt/all"
        )
    try:
        fsspec.core.url_to_fs(shared)
    except (ImportError, ValueError) as error:
        raise InputError(f"--shared-storage {shared} cannot be opened: {error}") from error


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        if not (target / name).exists():
            with atomic_write(target / name) as part:
                shutil.copyfile(source / name, part)


def _shard_name(number: int) -> str:
    return shard_dir(Path(), number).as_posix()


def _marker_last(name: str) -> tuple[bool, str]:
    return name.endswith(SHARD_MARKER), name
