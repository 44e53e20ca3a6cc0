"""Search by vector: which features, or which images, lie nearest to an embedding. FAISS, never torch.

Knows nothing of words or images: callers pass an embedding in the index's projection, of any length. A
feature's vector is an offset from the mean image, so an embedding must be `centred` before a search for
features, but not before a search for images. Text embeddings are not offset: measured on the procedural
world, an offset from the mean word finds features no better.
"""

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int64

from scopeview.errors import DamagedError
from scopeview.slots import Slot
from scopeview.store.checksums import IndexFiles, UnfinishedFiles
from scopeview.store.files import image_vectors, slot_vectors
from scopeview.store.pack import read_npy
from scopeview.store.records import Hit

VectorKind = Literal["exact", "ivf"]
Modality = Literal["text", "image"]
EXACT_BELOW = 1_000_000
"""Below this number of vectors, a search compares all: 0.1 s for half a million of 768 on one core."""

_SLOTS_OPEN = 16
_PROBED = 64  # cells of an inverted file that a search looks into
_INVERTED = b"Iw"
"""The first bytes of a FAISS inverted file. Such a file is mapped, since a search reads few of its cells, and
checked before each search, since reading a truncated mapped file kills the process. An exact search reads all
vectors, so its file is loaded into memory."""
_POINTS_A_CELL = 64  # that the cells are placed by


@dataclass(frozen=True)
class VectorIndex:
    """Unit vectors in fp16, searched by cosine. Safe to share between threads."""

    kind: VectorKind  # exact: all are compared; ivf: those in the nearest cells, so that one may be missed
    numbers: Int64[np.ndarray, " vector"] | None = field(repr=False)  # None: they are counted from 0
    index: Any = field(repr=False)  # faiss.Index; None where there are no vectors
    check: Callable[[], None] = field(default=lambda: None, repr=False)  # before a search of a mapped file

    def __len__(self) -> int:
        return 0 if self.index is None else int(self.index.ntotal)

    def nearest(self, vector: Float[np.ndarray, " projection"], k: int) -> list[Hit]:
        """The k nearest vectors by cosine, best first, equal ones by number; fewer if there are fewer.

        The list is empty for a vector that is zero or not finite.
        """
        length, n_wanted = float(np.linalg.norm(vector)), min(k, len(self))
        if not np.isfinite(length) or length == 0.0 or n_wanted < 1:
            return []
        self.check()
        query = np.ascontiguousarray(vector[None] / length, dtype=np.float32)
        cosines, found = self.index.search(query, n_wanted)
        hits = [
            Hit(self._number(at), float(cosine))
            for at, cosine in zip(found[0].tolist(), cosines[0].tolist(), strict=True)
            if at >= 0
        ]
        return sorted(hits, key=lambda hit: (-hit.cosine, hit.number))

    def _number(self, at: int) -> int:
        return at if self.numbers is None else int(self.numbers[at])


class Vectors:
    """The searchable parts of an index; each is opened on first use and kept."""

    def __init__(
        self,
        index_dir: Path,
        embeddings: Callable[[], Float[np.ndarray, "image projection"]],
        means: Callable[[], dict[Modality, Float32[np.ndarray, " projection"]]],
        files: IndexFiles | UnfinishedFiles | None = None,
    ) -> None:
        """`embeddings` is called if the index has no file for the search among images.

        `files` checks the index's files before they are read.
        """
        self._index_dir = index_dir
        self._files = files or UnfinishedFiles()
        self._embeddings = embeddings
        self._means = lru_cache(maxsize=1)(means)
        self._features = lru_cache(maxsize=_SLOTS_OPEN)(self._open_slot)
        self._images = lru_cache(maxsize=1)(self._open_images)
        self._opening = threading.Lock()

    def features(self, slot: Slot) -> VectorIndex:
        """The vectors of the slot's active features; empty if the index was not described."""
        with self._opening:
            return self._features(slot)

    def images(self) -> VectorIndex:
        """The CLIP embeddings of all images."""
        with self._opening:
            return self._images()

    def centred(
        self, vector: Float[np.ndarray, " projection"], of: Modality
    ) -> Float32[np.ndarray, " projection"]:
        """The query vector for `features`: an image's minus the mean image, a text's own; unit length."""
        unit = vector.astype(np.float32) / max(float(np.linalg.norm(vector)), 1e-12)
        with self._opening:
            mean = self._means().get(of)
        return unit if mean is None else unit_rows((unit - mean)[None])[0]

    def _open_slot(self, slot: Slot) -> VectorIndex:
        path = slot_vectors(self._index_dir, slot)
        if not self._files.expects(path):
            return VectorIndex("exact", None, None)
        self._files.check(path)
        try:
            vectors = read_npy(path)
        except (OSError, ValueError) as error:
            raise DamagedError(
                f"{path} is not readable ({error}); 'scopeview describe' makes it again"
            ) from error
        active = np.flatnonzero(np.any(vectors, axis=1))
        return VectorIndex("exact", active, _filled(unit_rows(vectors[active])))

    def _open_images(self) -> VectorIndex:
        path = image_vectors(self._index_dir)
        if not self._files.expects(path):
            return VectorIndex("exact", None, _filled(unit_rows(self._embeddings())))
        self._files.check(path)
        with path.open("rb") as file:
            kind: VectorKind = "ivf" if file.read(2) == _INVERTED else "exact"
        try:
            if kind == "ivf":
                mapped = faiss().read_index(str(path), faiss().IO_FLAG_MMAP)
                return VectorIndex(kind, None, mapped, lambda: self._files.check(path))
            return VectorIndex(kind, None, faiss().read_index(str(path)))
        except RuntimeError as error:
            raise DamagedError(
                f"{path} is not a readable FAISS index; 'scopeview describe' makes it again"
            ) from error


def unit_rows(vectors: Float[np.ndarray, "row projection"]) -> Float32[np.ndarray, "row projection"]:
    """The rows at unit length, in float32; a zero row stays zero."""
    rows = vectors.astype(np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32[np.ndarray, "row projection"] = rows / np.maximum(lengths, 1e-12)
    return unit


def exact_index(width: int) -> Any:
    """An empty FAISS index that compares every vector, stored in fp16."""
    fp16, inner = faiss().ScalarQuantizer.QT_fp16, faiss().METRIC_INNER_PRODUCT
    return faiss().IndexScalarQuantizer(width, fp16, inner)


def large_index(sample: Float32[np.ndarray, "row projection"], n_vectors: int) -> Any:
    """An empty inverted file whose cells are placed by a sample of the rows; callers then add all rows."""
    n_cells = max(1, min(int(4 * n_vectors**0.5), len(sample) // _POINTS_A_CELL))
    fp16, inner = faiss().ScalarQuantizer.QT_fp16, faiss().METRIC_INNER_PRODUCT
    width = sample.shape[1]
    index = faiss().IndexIVFScalarQuantizer(faiss().IndexFlatIP(width), width, n_cells, fp16, inner)
    index.nprobe = min(n_cells, _PROBED)
    index.train(np.ascontiguousarray(sample))
    return index


def _filled(unit: Float32[np.ndarray, "row projection"]) -> Any:
    index = exact_index(unit.shape[1])
    index.add(np.ascontiguousarray(unit))
    return index


@lru_cache(maxsize=1)
def faiss() -> Any:
    """The FAISS library, imported on first use."""
    import faiss as library

    if sys.platform == "darwin":
        library.omp_set_num_threads(1)  # PyTorch brings an OpenMP of its own, and two at work crash there
    return library
