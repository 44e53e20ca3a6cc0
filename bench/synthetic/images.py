"""A thousand small images and a thousand sprites of them, drawn once and used again and again.

They are plain on purpose: half a million thumbnails and a million sprites have to fit on the disk.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from bench.synthetic.spec import IMAGE_PX
from indexer.sprites import compose

N_IMAGES = 1000
_QUALITY = 30


def thumbs(seed: int, n: int = N_IMAGES) -> list[bytes]:
    """Returns different WebP images: twelve patches of random colour that run into each other."""
    generator = np.random.default_rng([seed, 1])
    patches = generator.integers(0, 256, (n, 3, 4, 3), dtype=np.uint8)
    return [_webp(Image.fromarray(each).resize((IMAGE_PX, IMAGE_PX))) for each in patches]


def sprites(seed: int, drawn: Sequence[bytes], n: int = N_IMAGES) -> list[bytes]:
    """Returns WebP sprites of nine random images each."""
    generator = np.random.default_rng([seed, 2])
    nines = generator.integers(0, len(drawn), (n, 9)).tolist()
    return [_webp(compose(nine, drawn.__getitem__)) for nine in nines]


def _webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=0)
    return file.getvalue()
