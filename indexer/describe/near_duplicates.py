"""Finds near-duplicates among a feature's top images, so that they are shown once and counted as one.

Two images are near-duplicates if they come from identical files, or if both CLIP's embedding and a perceptual
hash are close. The embedding alone would match two views of one kind of thing, the hash alone two different
things with the same outline.
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
    """Compares images of one index; caches the hashes of images it has compared."""

    def __init__(
        self,
        embeddings: Embeddings,
        files: Int32[np.ndarray, " image"],
        thumb: Callable[[int], bytes],
        cosine: float,
        bits: int,
    ) -> None:
        """`files` is equal for identical files. `thumb` returns an image's WebP, from any thread."""
        self._embeddings, self._files, self._thumb = embeddings, files, thumb
        self._cosine, self._bits = cosine, bits
        self._hashes = np.zeros(embeddings.n_images, np.uint64)
        self._hashed = np.zeros(embeddings.n_images, bool)

    def folds(self, tops: SlotTopImages) -> Int8[np.ndarray, "live rank"]:
        """For each rank (from 1), the first rank whose image it nearly duplicates, or its own rank.

        Duplicates of a duplicate are folded into the same rank. Ranks without an image keep their own.
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
        """True where the later of two ranks nearly duplicates the earlier; other pairs do not count."""
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
    """The signs of the image's 64 lowest frequencies in grey: its layout, whatever its size."""
    import imagehash

    with Image.open(io.BytesIO(webp), formats=["WEBP"]) as image:
        bits = imagehash.phash(image).hash.ravel()
    return np.uint64(int.from_bytes(np.packbits(bits).tobytes(), "big"))
