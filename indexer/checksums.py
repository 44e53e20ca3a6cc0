"""The last step before the manifest: records size and sha256 of every file of a finished index."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scopeview.progress import task
from scopeview.store.checksums import file_record
from scopeview.store.feature_rows import rows_dir
from scopeview.store.files import (
    FIGURES,
    NORMALIZATION,
    REPORT,
    TOMBSTONES,
    grid_pack,
    image_vectors,
    slot_vectors,
)
from scopeview.store.manifest import VERSION, FileRecord, Manifest
from scopeview.store.pack import add_checksums, offsets_path


def with_files(index_dir: Path, manifest: Manifest) -> Manifest:
    """The manifest with every file's present size and digest, including packs written by an older version."""
    for pack in _packs(index_dir, manifest):
        add_checksums(pack)
    paths = sorted(_paths(index_dir, manifest))
    with (
        ThreadPoolExecutor(thread_name_prefix="checksums") as pool,
        task("checksums", len(paths), "files") as done,
    ):
        files = dict[str, FileRecord]()
        for path, record in zip(paths, pool.map(file_record, paths), strict=True):
            files[path.relative_to(index_dir).as_posix()] = record
            done.advance()
    return manifest.model_copy(update={"version": VERSION, "files": files})


def _packs(index_dir: Path, manifest: Manifest) -> Iterator[Path]:
    """Yields the complete packs of an index."""
    folders = [*_shard_dirs(index_dir), *_rows_dirs(index_dir, manifest)]
    named = [grid_pack(index_dir, slot) for slot in manifest.slots]
    for pack in (*named, *(pack for folder in folders for pack in folder.glob("*.pack"))):
        if offsets_path(pack).is_file():
            yield pack


def _paths(index_dir: Path, manifest: Manifest) -> Iterator[Path]:
    """The files that `data/README.md` lists, except the manifest and `run.json`; nothing unfinished."""
    describe = manifest.describe
    databases = [manifest.database, *([describe.database] if describe else [])]
    named = [index_dir / name for name in (*databases, FIGURES, NORMALIZATION, REPORT, TOMBSTONES)]
    named += [image_vectors(index_dir), *(slot_vectors(index_dir, slot) for slot in manifest.slots)]
    yield from (path for path in named if path.is_file())
    for folder in (*_shard_dirs(index_dir), *_rows_dirs(index_dir, manifest)):
        yield from (path for path in folder.iterdir() if path.suffix != ".part")
    for slot in manifest.slots:
        yield from grid_pack(index_dir, slot).parent.glob(f"{slot.name}.*")


def _shard_dirs(index_dir: Path) -> list[Path]:
    return [path for path in (index_dir / "shards").glob("*") if path.name.isdigit()]


def _rows_dirs(index_dir: Path, manifest: Manifest) -> list[Path]:
    describe = manifest.describe
    folder = rows_dir(index_dir, describe.database) if describe else None
    return [folder] if folder is not None and folder.is_dir() else []
