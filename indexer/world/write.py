"""Writes a world as WebDataset tars: `KEY.jpg`, `KEY.txt` (caption) and `KEY.json` (truth) for each scene.

The same seed gives the same tars, byte for byte, under one version of Pillow (and of its JPEG encoder).
"""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from indexer.world.kinds import check_kinds
from indexer.world.scene import Scene, make_scene

_JPEG_QUALITY = 92


def write_world(
    out: Path,
    n_images: int,
    seed: int,
    *,
    kinds: Sequence[str] | None = None,
    images_per_shard: int = 1000,
    progress: Callable[[], object] | None = None,
) -> list[Path]:
    """Writes scenes 0 to `n_images` - 1 of world `seed` as `00000.tar`, ... in `out`; returns the tars.

    An existing tar is made again and replaced as a whole. `progress` is called after every scene. With
    `kinds`, all things are of those kinds; raises `InputError` for an unknown one.
    """
    checked = None if kinds is None else check_kinds(kinds)
    out.mkdir(parents=True, exist_ok=True)
    tars: list[Path] = []
    for start in range(0, n_images, images_per_shard):
        path = out / f"{len(tars):05d}.tar"
        temporary = path.with_name(path.name + ".tmp")
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(start, min(start + images_per_shard, n_images)):
                _add_scene(tar, f"{number:09d}", make_scene(seed, number, kinds=checked))
                if progress is not None:
                    progress()
        temporary.replace(path)
        tars.append(path)
    return tars


def jpeg(image: Image.Image) -> bytes:
    """The image as JPEG without colour subsampling, which would smear the edges of flat colours."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def _add_scene(tar: tarfile.TarFile, key: str, scene: Scene) -> None:
    caption = scene.written_caption
    about = {"key": key, "caption": caption, **scene.truth()}
    contents = {"jpg": jpeg(scene.image), "txt": caption.encode(), "json": json.dumps(about).encode()}
    for suffix, content in contents.items():
        header = tarfile.TarInfo(f"{key}.{suffix}")  # time 0, owner 0: nothing of this machine
        header.size = len(content)
        tar.addfile(header, io.BytesIO(content))
