"""Which of a feature's top images are nearly the same image: shown once, counted as one sort.

Two are when they are one file, or when both CLIP's embedding and a perceptual hash say so: the embedding
alone takes two views of one kind of thing for the same image, the hash alone two things of one outline.
"""

import io
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32
from PIL import Image

from indexer.describe.embeddings import Embeddings
from indexer.describe.top_images import SlotTopImages


class NearDuplicates:
    """Compares images of one index; hashes of those it was asked about are kept."""

    def __init__(
        self,
        embeddings: Embeddings,
        files: Int32[np.ndarray, " image"],
        thumb: Callable[[int], bytes],
        cosine: float,
        bits: int,
    ) -> None:
        """`files` are equal where two images are one file. `thumb` gives an image's WebP, in any thread."""
        self._embeddings, self._files, self._thumb = embeddings, files, thumb
        self._cosine, self._bits = cosine, bits
        self._hashes = np.zeros(embeddings.n_images, np.uint64)
        self._hashed = np.zeros(embeddings.n_images, bool)

    def folds(self, tops: SlotTopImages) -> Int8[np.ndarray, "live rank"]:
        """The rank, from 1, of the first top image that each nearly duplicates, or its own.

        What duplicates a duplicate is folded with it. Ranks that hold no image are their own.
        """
        n_ranks = tops.images.shape[1]
        alike = self._pairs(tops)
        folds = np.tile(np.arange(1, n_ranks + 1, dtype=np.int8), (len(tops), 1))
        for rank in range(1, n_ranks):
            earlier = alike[:, :rank, rank]
            first = earlier.argmax(axis=1)
            folds[:, rank] = np.where(earlier.any(axis=1), folds[np.arange(len(tops)), first], folds[:, rank])
        return folds

    def _pairs(self, tops: SlotTopImages) -> Bool[np.ndarray, "live rank rank"]:
        """Is the second of the two nearly the first? Of earlier and later ranks alone."""
        files = self._files[tops.images]
        present = tops.present[:, :, None] & tops.present[:, None, :]
        one_file = present & (files[:, :, None] == files[:, None, :])
        near = present & ~one_file & (self._cosines(tops) >= self._cosine)
        near &= np.triu(np.ones(near.shape[1:], bool), 1)
        rows, earlier, later = np.nonzero(near)
        first, second = tops.images[rows, earlier], tops.images[rows, later]
        self._hash(np.unique(np.concatenate([first, second])).tolist())
        differing = np.bitwise_count(self._hashes[first] ^ self._hashes[second])
        near[rows, earlier, later] = differing <= self._bits
        alike: Bool[np.ndarray, "live rank rank"] = one_file | near
        return alike

    def _cosines(self, tops: SlotTopImages) -> Float32[np.ndarray, "live rank rank"]:
        unit = self._embeddings.unit(tops.images)
        cosines: Float32[np.ndarray, "live rank rank"] = unit @ unit.transpose(0, 2, 1)
        return cosines

    def _hash(self, images: Iterable[int]) -> None:
        missing = [image for image in images if not self._hashed[image]]
        if not missing:
            return
        with ThreadPoolExecutor(thread_name_prefix="hash") as pool:
            for image, found in zip(
                missing, pool.map(lambda one: perceptual_hash(self._thumb(one)), missing), strict=True
            ):
                self._hashes[image], self._hashed[image] = found, True


def perceptual_hash(webp: bytes) -> np.uint64:
    """64 signs of the lowest frequencies of the image in grey: layout, whatever size or compression."""
    import imagehash

    with Image.open(io.BytesIO(webp), formats=["WEBP"]) as image:
        bits = imagehash.phash(image).hash.ravel()
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))
