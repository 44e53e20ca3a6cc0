"""What kind of source a path is: told from what lies in it, refused when that is nothing or two things."""

from collections import Counter
from pathlib import Path

from indexer.sources.folder import folder_shards, is_image_name, list_files
from indexer.sources.parquet import ParquetShard, has_images
from indexer.sources.remote import is_url, open_remote
from indexer.sources.sample import Source
from indexer.sources.webdataset import TarShard, stats_path
from scopeview.errors import SourceError

_ACCEPTED = (
    "accepted are: a folder of images (jpg, jpeg, png, webp, gif), a .tar or a folder of them (WebDataset), "
    "a .parquet with a column of image bytes or a folder of them"
)


def open_source(source: Path | str, *, images_per_shard: int = 1000) -> Source:
    """Looks at names (and Parquet footers) only. Raises `SourceError` when nothing usable is there.

    A URL (`hf://datasets/org/name`, `s3://...`) is listed, too; its shards are fetched as they are read.
    """
    if images_per_shard < 1:
        raise SourceError(f"images per shard must be 1 or more, not {images_per_shard}")
    if is_url(source):
        return open_remote(str(source))
    path = Path(source)
    try:
        if path.is_dir():
            return _open_folder(path, images_per_shard)
        if path.is_file():
            return _open_file(path)
    except OSError as error:
        raise SourceError(f"source {path} cannot be read: {error.strerror}") from error
    raise SourceError(f"source {path} does not exist; {_ACCEPTED}")


def _open_file(path: Path) -> Source:
    if path.suffix == ".tar":
        return Source("webdataset", path, (TarShard(path),))
    if path.suffix == ".parquet":
        if has_images(path) is False:
            raise SourceError(f"{path} has no column of image bytes; {_ACCEPTED}")
        return Source("parquet", path, (ParquetShard(path),))
    raise SourceError(f"{path} is neither a .tar nor a .parquet; {_ACCEPTED}")


def _open_folder(root: Path, images_per_shard: int) -> Source:
    here = sorted(entry for entry in root.iterdir() if entry.is_file() and not entry.name.startswith("."))
    tars = [path for path in here if path.suffix == ".tar"]
    parquets = [path for path in here if path.suffix == ".parquet"]
    with_images = {path: has_images(path) for path in parquets}
    # img2dataset's tables beside its tars hold no images. An unreadable one counts where nothing else does.
    tables = [path for path in parquets if with_images[path] is not False]
    has_tables = any(with_images.values())
    files = [] if tars or has_tables else list_files(root)
    has_pictures = any(map(is_image_name, files or (path.name for path in here)))
    found = [
        kind
        for kind, is_there in ((".tar", tars), (".parquet", has_tables), ("image", has_pictures))
        if is_there
    ]
    if len(found) > 1:
        raise SourceError(f"{root} mixes {' and '.join(found)} files: give one kind; {_ACCEPTED}")
    if tars:
        return Source("webdataset", root, _tar_shards(tars))
    if has_pictures:
        return Source("folder", root, folder_shards(root, files, images_per_shard))
    if tables:
        return Source("parquet", root, tuple(map(ParquetShard, tables)))
    raise SourceError(f"{root} holds {_summary(files)}: nothing to index; {_ACCEPTED}")


def _tar_shards(tars: list[Path]) -> tuple[TarShard, ...]:
    stats_expected = any(stats_path(tar).is_file() for tar in tars)
    return tuple(TarShard(tar, stats_expected) for tar in tars)


def _summary(files: list[str]) -> str:
    """`12 .txt, 3 .parquet`: what is there instead, the commonest first."""
    kinds = Counter(Path(file).suffix.lower() or "without extension" for file in files)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "no files"
