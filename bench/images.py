"""The images that benchmarks read: the corpus if it is here, else as many drawn ones."""

import sys
import tempfile
from pathlib import Path

from tests.image_sets import N_LAION_SHARDS, ImageSets, corpus, write_image_sets

MADE = Path("bench/made")
"""The folder of generated files, kept for the next run; git ignores it."""

N_PHOTO_SHARDS, N_PHOTOS_PER_SHARD, N_LAION_PER_SHARD = 7, 100, 35


def image_sets(work: Path = MADE) -> ImageSets:
    """Returns the corpus, else drawn images (in `work/images`), whose other sizes give other figures."""
    return corpus() or _drawn(work / "images")


def _drawn(folder: Path) -> ImageSets:
    if not folder.is_dir():
        print(f"no corpus of real images here (CONTRIBUTING.md): drawing some into {folder}", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = write_image_sets(
                Path(temporary) / "images",
                per_laion_shard=N_LAION_PER_SHARD,
                n_photo_shards=N_PHOTO_SHARDS,
                per_photo_shard=N_PHOTOS_PER_SHARD,
            )
            made.folder.rename(folder)
    return ImageSets(
        folder,
        n_laion=N_LAION_SHARDS * N_LAION_PER_SHARD,
        n_photos=N_PHOTO_SHARDS * N_PHOTOS_PER_SHARD,
        n_photo_shards=N_PHOTO_SHARDS,
    )
