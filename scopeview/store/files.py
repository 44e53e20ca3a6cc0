"""The names of the files in an index folder, and the one way any of them is written.

A file is written beside its place, flushed to disk and renamed into it, so that a name that exists holds a
whole file; a kill at any moment leaves at most a `.part` behind, which the next run overwrites.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pyarrow.fs import LocalFileSystem

from scopeview.errors import DamagedError
from scopeview.slots import Slot

MANIFEST = "manifest.json"
RUN = "run.json"
REPORT = "report.json"
TOMBSTONES = "tombstones.txt"
FIGURES = "figures.json"
NORMALIZATION = "normalization.safetensors"
LOCK = ".lock"
SHARD_MARKER = "shard.json"


LOCAL = LocalFileSystem()
"""For Arrow's writers, which otherwise take a relative path that begins with e.g. `md:` for a URL."""


def shard_dir(index_dir: Path, shard: int) -> Path:
    """The folder in which encode stores the codes, images and embeddings of one source shard."""
    return index_dir / "shards" / f"{shard:05d}"


def codes_file(folder: Path, slot: Slot) -> Path:
    """The codes of one slot in a shard's folder."""
    return folder / f"codes-{slot.name}.parquet"


def grid_pack(index_dir: Path, slot: Slot) -> Path:
    return index_dir / "grids" / f"{slot.name}.pack"


def slot_vectors(index_dir: Path, slot: Slot) -> Path:
    """The file in which describe stores the vectors of a slot's features."""
    return index_dir / "vectors" / f"{slot.name}.npy"


def image_vectors(index_dir: Path) -> Path:
    """The file in which describe stores the FAISS index of all images."""
    return index_dir / "vectors" / "images.faiss"


def cache_dir() -> Path:
    """The cache folder, `SCOPEVIEW_CACHE` or `~/.cache/scopeview`; files removed there are made again."""
    folder = os.environ.get("SCOPEVIEW_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "scopeview"


def read_json(path: Path) -> Any:
    """Reads UTF-8, with or without a byte order mark. Raises `OSError`, or `ValueError` for invalid JSON."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


WHILE_WRITING = "while writing "
"""The beginning of an error's note that says which file was being written; the path follows."""


@contextmanager
def naming(path: Path) -> Iterator[Path]:
    """Adds the file's name to errors in the block: an error about a full disk does not name any by itself."""
    try:
        yield path
    except Exception as error:
        error.add_note(f"{WHILE_WRITING}{path}")
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a `.part` path to write to; on success fsyncs it and renames it to `path`, else removes it."""
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()  # some writers make files that only their owner can read; a server may be another user
    mode = part.stat().st_mode
    part.unlink()
    try:
        with naming(path):
            yield part
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
            part.chmod(mode)
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def file_sha256(path: Path) -> str:
    """Hex digest of the whole file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Writes JSON with sorted keys, so that equal content is equal bytes; refuses NaN."""
    with atomic_write(path) as part:
        part.write_text(
            json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def write_sealed_json(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON that includes its own sha256, for files whose checksum is recorded nowhere else."""
    plain = json.loads(json.dumps(content))
    write_json(path, {**plain, "sha256": _json_sha256(plain)})


_T = TypeVar("_T")


def read_sealed_json(path: Path, parse: Callable[[dict[str, Any]], _T]) -> _T:
    """Returns `parse` of the content without its sha256, which files of older versions lack.

    `parse` runs before the checksum is compared, since its errors are more specific. Raises `OSError`, or
    `DamagedError` for a file that is not what was written.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"{path}: the file is no JSON ({error}); put back a copy of it") from error
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: the file holds no JSON object; put back a copy of it")
    given = content.pop("sha256", None)
    parsed = parse(content)
    if given not in (None, _json_sha256(content)):
        raise DamagedError(f"{path}: the file was changed or is damaged; put back a copy of it")
    return parsed


def _json_sha256(content: dict[str, Any]) -> str:
    """The digest of the content, independent of its layout."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Flushes the folder's names to disk; until then, a rename in it is not safe."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
