"""Opens a source: finds its kind, its shards, and the files beside them that are not indexed."""

from collections.abc import Iterator
from pathlib import Path

from indexer.sources.folder import folder_shards
from indexer.sources.layout import (
    ACCEPTED,
    Layout,
    choose_layout,
    is_parquet,
    is_tar,
    shard_names,
    stats_of,
)
from indexer.sources.listing import FolderListing, list_files, snapshot_of
from indexer.sources.options import SourceOptions
from indexer.sources.parquet import ParquetShard, has_images
from indexer.sources.remote import is_url, open_remote
from indexer.sources.sample import Shard, Source
from indexer.sources.unused import count_unused
from indexer.sources.webdataset import TarShard
from scopeview.errors import SourceError


def open_source(
    source: Path | str,
    *,
    images_per_shard: int = 1000,
    options: SourceOptions | None = None,
) -> Source:
    """Opens a source, reading only names (and Parquet footers). Raises `SourceError` if nothing is usable.

    A URL (`hf://datasets/org/name`, `s3://...`) is listed, too; its shards are fetched as they are read.
    """
    if images_per_shard < 1:
        raise SourceError(f"images per shard must be 1 or more, not {images_per_shard}")
    options = options or SourceOptions()
    if is_url(source):
        return open_remote(str(source), options)
    path = Path(source)
    try:
        if path.is_dir():
            return _open_folder(path, images_per_shard, options)
        if path.is_file():
            return _open_file(path, options)
    except OSError as error:
        raise SourceError(f"source {path} cannot be read: {error.strerror}") from error
    raise SourceError(f"source {path} does not exist; {ACCEPTED}")


def _open_file(path: Path, options: SourceOptions) -> Source:
    if is_tar(path.name):
        return Source("webdataset", path, (TarShard(path, options=options),))
    if is_parquet(path.name):
        if has_images(path, options) is False:
            wanted = f"column {options.image_key!r}" if options.image_key else "column"
            raise SourceError(f"{path} has no {wanted} of image bytes; {ACCEPTED}")
        return Source("parquet", path, (ParquetShard(path, options=options),))
    raise SourceError(f"{path} is neither a .tar nor a .parquet; {ACCEPTED}")


def _open_folder(given: Path, images_per_shard: int, options: SourceOptions) -> Source:
    root = snapshot_of(given)
    listing = list_files(root, follow_links=options.follow_links)
    layout = choose_layout(str(given), listing.files, options, lambda path: has_images(root / path, options))
    shards: tuple[Shard, ...]
    if layout.kind == "folder":
        shards, unused = folder_shards(root, layout.paths, images_per_shard, options)
    else:
        shards, unused = tuple(_archives(root, layout, listing, options)), layout.unused
    return Source(layout.kind, root, shards, count_unused([*listing.unused, *unused]))


def _archives(root: Path, layout: Layout, listing: FolderListing, options: SourceOptions) -> Iterator[Shard]:
    stats_expected = not set(listing.files).isdisjoint(map(stats_of, layout.paths))
    for path, name in zip(layout.paths, shard_names(layout.paths), strict=True):
        if layout.kind == "parquet":
            yield ParquetShard(root / path, name, options)
        else:
            yield TarShard(root / path, stats_expected, name, options)
