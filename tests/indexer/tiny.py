"""The smallest world that goes through every stage: three tars of made-up images, a CLIP of 17 tokens."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.indexer.sources.tars import write_tar
from tests.models import save_random_clip
from tests.saes import save_random_clipscope, save_random_native

IMAGE_PX, WIDTH, PROJECTION = 32, 32, 16
N_FEATURES, K = 48, 6
N_SHARDS, PER_SHARD = 3, 6


def jpeg(seed: int, size_px: tuple[int, int] = (48, 40)) -> bytes:
    """Twelve flat patches of random colour; each seed looks different."""
    patches = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size_px, Image.Resampling.NEAREST).save(file, "JPEG")
    return file.getvalue()


def write_source(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for shard in range(N_SHARDS):
        samples = [(f"{i:03d}.jpg", jpeg(shard * PER_SHARD + i)) for i in range(PER_SHARD)]
        write_tar(folder / f"{shard:05d}.tar", samples)
    return folder


def write_model(folder: Path) -> Path:
    return save_random_clip(folder, image_px=IMAGE_PX, width=WIDTH, n_layers=3, projection_dim=PROJECTION)


def write_suite(folder: Path) -> Path:
    """CLIP-Scope at layer 1, which waits for its statistics; our own format on the embedding."""
    save_random_clipscope(folder, layer=1, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=1)
    save_random_native(folder, layer="embed", d_in=PROJECTION, n_features=N_FEATURES, k=K, seed=2)
    return folder


def index_words(folder: Path, out: Path) -> list[object]:
    """`scopeview index` on what the three functions wrote into `folder`."""
    return [
        "index",
        folder / "source",
        *("--model", folder / "model", "--sae", folder / "suite", "--out", out),
        *("--tokens", "cls,any", "--slug", "tiny", "--batch-size", "4", "--calibration-images", "8"),
        *("--dtype", "float32"),  # the same on every machine
    ]


def write_world(folder: Path) -> Path:
    write_source(folder / "source")
    write_model(folder / "model")
    write_suite(folder / "suite")
    return folder
