"""Sets of images for tests and benchmarks: drawn ones, which any checkout can make, and 770 real ones.

Both are a folder with `laion/` (tars as the LAION pipeline leaves them: `KEY.jpg` and `KEY.json`, the web as
it is) and `photos/` (shards as img2dataset leaves them: tar, Parquet and statistics). Drawn ones hold crops
of the photographs that scikit-learn ships and scenes of the demo's world; they are the same every time.
"""

import functools
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from indexer.world.scene import make_scene
from tests.indexer.sources.tars import write_tar

PROJECT_DIR = Path(__file__).resolve().parent.parent
CORPUS_VARIABLE, REQUIRED_VARIABLE = "SCOPEVIEW_IMAGES", "SCOPEVIEW_REQUIRE_IMAGES"

NO_CORPUS = (
    "the corpus of 770 real images is not here: put it into ../shared/images beside the checkout, or name "
    f"its folder by {CORPUS_VARIABLE} (CONTRIBUTING.md says what it holds)"
)

N_LAION_SHARDS, PER_LAION_SHARD = 2, 20
N_PHOTO_SHARDS, PER_PHOTO_SHARD = 3, 32
PHOTO_EDGE_PX = 256
"""Short side of the photographs, as img2dataset resizes them; smaller ones stay as they are."""
ORIENTATION_TAG = 0x0112

Encode = Callable[[Image.Image, np.random.Generator], bytes]


@dataclass(frozen=True)
class ImageSets:
    """A folder with both sets, and what is to be found in them."""

    folder: Path
    n_laion: int
    n_photos: int
    n_photo_shards: int

    @property
    def laion(self) -> Path:
        return self.folder / "laion"

    @property
    def photos(self) -> Path:
        return self.folder / "photos"


def corpus() -> ImageSets | None:
    """The real images that `$SCOPEVIEW_IMAGES` names, else those of `../shared/images`; None without either.

    Raises `FileNotFoundError` where what is named, or what `$SCOPEVIEW_REQUIRE_IMAGES` asks for, is missing.
    """
    named = os.environ.get(CORPUS_VARIABLE)
    folder = Path(named) if named else PROJECT_DIR.parent / "shared" / "images"
    if (folder / "laion").is_dir() and (folder / "photos").is_dir():
        return ImageSets(folder, n_laion=70, n_photos=700, n_photo_shards=7)
    if named:
        raise FileNotFoundError(f"{CORPUS_VARIABLE} is {named}, which has no folders laion and photos")
    if os.environ.get(REQUIRED_VARIABLE, "0") != "0":
        raise FileNotFoundError(f"{REQUIRED_VARIABLE} is set, and {folder} has no folders laion and photos")
    return None


def write_image_sets(
    folder: Path,
    *,
    per_laion_shard: int = PER_LAION_SHARD,
    n_photo_shards: int = N_PHOTO_SHARDS,
    per_photo_shard: int = PER_PHOTO_SHARD,
) -> ImageSets:
    """Draws both sets into `folder`."""
    write_laion(folder / "laion", per_laion_shard)
    write_photos(folder / "photos", n_photo_shards, per_photo_shard)
    return ImageSets(
        folder, N_LAION_SHARDS * per_laion_shard, n_photo_shards * per_photo_shard, n_photo_shards
    )


def write_laion(folder: Path, per_shard: int) -> None:
    """Images in every coding that the web has, all named `.jpg`, as there, and with the pipeline's fields."""
    folder.mkdir(parents=True)
    for shard in range(N_LAION_SHARDS):
        members: list[tuple[str, bytes]] = []
        for number in range(shard * per_shard, (shard + 1) * per_shard):
            random = np.random.default_rng((1, number))
            image = web_image(number, random)
            data = CODINGS[number % len(CODINGS)](image, random)
            about = {
                "URL": f"https://example.org/{number}.jpg?size=full&n={number}",
                "TEXT": f"Web image {number} – ein Bild, 一张图片",
                "WIDTH": float(image.width),
                "HEIGHT": float(image.height),
                "LANGUAGE": "en",
                "similarity": float(random.uniform(0.28, 0.4)),
                "pwatermark": float(random.random()),
                "punsafe": float(random.random() / 100),
            }
            stem = f"00001-{1200 + 300 * shard}--{number:04d}"
            members += [(f"{stem}.jpg", data), (f"{stem}.json", json.dumps(about).encode())]
        write_tar(folder / f"00001-{1200 + 300 * shard}.{per_shard}.ready.tar", members)


def write_photos(folder: Path, n_shards: int, per_shard: int) -> None:
    """JPEGs with a caption and a WordNet id of their own each; a table and statistics beside every tar."""
    folder.mkdir(parents=True)
    for shard in range(n_shards):
        members: list[tuple[str, bytes]] = []
        rows: list[dict[str, object]] = []
        for number in range(shard * per_shard, (shard + 1) * per_shard):
            random = np.random.default_rng((2, number))
            image = photo(number, random)
            data = jpeg(image, random)
            row = _photo_row(number, image, data)
            key = str(row["key"])
            members += [
                (f"{key}.jpg", data),
                (f"{key}.txt", str(row["caption"]).encode()),
                (f"{key}.json", json.dumps(row).encode()),
            ]
            rows.append(row)
        write_tar(folder / f"{shard:05d}.tar", members)
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:05d}.parquet")
        counts = {"count": per_shard, "successes": per_shard, "failed_to_download": 0, "failed_to_resize": 0}
        (folder / f"{shard:05d}_stats.json").write_text(json.dumps(counts))


def photo(number: int, random: np.random.Generator) -> Image.Image:
    """Of five in turn: four crops of a photograph and a scene with noise; no two alike."""
    if number % 5 == 4:
        side_px = int(random.integers(90, 300))
        return noisy(make_scene(7, number).image.resize((side_px, side_px)), random)
    image = crop_of_photograph(random)
    scale = PHOTO_EDGE_PX / min(image.size)
    return image if scale >= 1 else image.resize((round(image.width * scale), round(image.height * scale)))


def web_image(number: int, random: np.random.Generator) -> Image.Image:
    """Photographs, flat scenes, and what is long or tiny."""
    sizes = ((728, 90), (37, 211), (1, 1), (300, 3), (900, 650), (199, 200))
    image = make_scene(3, number).image if number % 3 == 0 else crop_of_photograph(random)
    return image.resize(sizes[number // 2 % len(sizes)]) if number % 2 else image


def crop_of_photograph(random: np.random.Generator) -> Image.Image:
    """A random part, 60 px a side at least, perhaps mirrored."""
    photograph = photographs()[int(random.integers(2))]
    width, height = (int(random.integers(60, limit + 1)) for limit in photograph.size)
    left = int(random.integers(photograph.width - width + 1))
    top = int(random.integers(photograph.height - height + 1))
    crop = photograph.crop((left, top, left + width, top + height))
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


@functools.cache
def photographs() -> Sequence[Image.Image]:
    """The two that scikit-learn ships, 640 x 427: a temple in China, and a flower."""
    from sklearn.datasets import load_sample_image

    return [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]


def noisy(image: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    grain = random.normal(0, 6, pixels.shape)
    return Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg(image: Image.Image, random: np.random.Generator) -> bytes:
    """Baseline or progressive, subsampled or not, of any usual quality."""
    return saved(
        image,
        "JPEG",
        quality=int(random.integers(70, 97)),
        progressive=bool(random.random() < 0.3),
        subsampling=int(random.integers(3)),
    )


def _turned_jpeg(image: Image.Image, random: np.random.Generator) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = int(random.integers(2, 9))
    return saved(image, "JPEG", quality=88, exif=exif)


def _png_with_alpha(image: Image.Image, random: np.random.Generator) -> bytes:
    alpha = random.integers(0, 256, (image.height, image.width), dtype=np.uint8)
    layered = image.copy()
    layered.putalpha(Image.fromarray(alpha))
    return saved(layered, "PNG")


CODINGS: Sequence[Encode] = (
    jpeg,
    jpeg,
    lambda image, _: saved(image.convert("L"), "JPEG", quality=85),
    lambda image, _: saved(image.convert("CMYK"), "JPEG", quality=90),
    _turned_jpeg,
    lambda image, _: saved(image, "PNG"),
    lambda image, _: saved(image.quantize(64), "PNG"),
    lambda image, _: saved(image.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
    _png_with_alpha,
    lambda image, _: saved(image.convert("LA"), "PNG"),
    lambda image, _: saved(image.convert("1"), "PNG"),
    lambda image, _: saved(image, "WebP", quality=80),
    lambda image, _: saved(image.quantize(128), "GIF"),
)


def _photo_row(number: int, image: Image.Image, data: bytes) -> dict[str, object]:
    return {
        "caption": f"photograph {number}",
        "url": f"https://example.org/n{number:08d}.JPEG",
        "key": f"{number:09d}",
        "status": "success",
        "error_message": None,
        "width": image.width,
        "height": image.height,
        "original_width": image.width,
        "original_height": image.height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "wnid": f"n{number:08d}",
    }
