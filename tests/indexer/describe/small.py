"""A small index that goes through the describe stage, and the plain arrays that its figures follow from.

48 images of twelve looks, so that features come to fire on nine of them.
Two are one file, and some have labels.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from indexer.pipeline import IndexRequest
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from tests.indexer.sources.tars import write_tar
from tests.models import save_random_clip
from tests.saes import save_random_clipscope, save_random_native

N_IMAGES, N_LOOKS = 48, 12
N_FEATURES, K = 40, 6
IMAGE_PX, WIDTH, PROJECTION = 32, 32, 16
TWINS = (3, 27)  # the same file twice
WORDS = ["red", "blue", "circle", "square", "dog", "cat", "red circle", "blue square", "red dog", "blue cat"]


def write_world(folder: Path) -> Path:
    """Images, a CLIP, SAEs of layers 1 and 2 and of the embedding, and a vocabulary."""
    (folder / "source").mkdir(parents=True)
    members = []
    for number in range(N_IMAGES):
        members.append((f"{number:03d}.jpg", sample_image(TWINS[0] if number == TWINS[1] else number)))
        if number % 3:
            members.append((f"{number:03d}.cls", str(number % 3).encode()))
    write_tar(folder / "source" / "00000.tar", members)
    model = folder / "model"
    save_random_clip(model, image_px=IMAGE_PX, width=WIDTH, n_layers=3, projection_dim=PROJECTION)
    save_random_clipscope(folder / "suite", layer=1, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=1)
    save_random_native(folder / "suite", layer=2, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=2)
    save_random_native(folder / "suite", layer="embed", d_in=PROJECTION, n_features=N_FEATURES, k=K, seed=3)
    (folder / "words.txt").write_text("# words\n" + "\n".join([*WORDS, "red", ""]))
    return folder


def sample_image(number: int) -> bytes:
    """One of the looks (flat patches), each time a little lighter."""
    patches = np.random.default_rng(number % N_LOOKS).integers(0, 200, (4, 4, 3))
    lighter = np.clip(patches + 4 * (number // N_LOOKS), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(lighter).resize((48, 48), Image.Resampling.NEAREST).save(file, "JPEG", quality=95)
    return file.getvalue()


def request(world: Path, out: Path, **changes: object) -> IndexRequest:
    settings: dict[str, object] = {
        "tokens": ("cls", "5", "any"),
        "slug": "small",
        "batch_size": 16,
        "dtype": "float32",
        "calibration_images": 16,
        "vocabulary": world / "words.txt",
        **changes,
    }
    return IndexRequest(world / "source", str(world / "model"), str(world / "suite"), out, **settings)  # type: ignore[arg-type]


Table = np.ndarray[tuple[int, int], np.dtype[np.float32]]


@dataclass(frozen=True)
class Plain:
    """An index as dense tables."""

    reader: IndexReader
    units: Table  # (image, projection)
    firing: dict[Slot, Table]  # (image, feature), zero where it does not fire

    @classmethod
    def of(cls, reader: IndexReader) -> "Plain":
        rows = reader.embeddings().astype(np.float32)
        firing = {slot: np.zeros((N_IMAGES, N_FEATURES), np.float32) for slot in reader.manifest.slots}
        for layer, token, feature, image_id, activation in reader.sql(
            "SELECT layer, token, feature, image_id, activation FROM activations"
        ):
            firing[reader.slot(layer, token)][image_id, feature] = activation
        return cls(reader, rows / np.linalg.norm(rows, axis=1, keepdims=True), firing)

    def active(self, slot: Slot) -> list[int]:
        return np.flatnonzero((self.firing[slot] > 0).sum(axis=0) >= 9).tolist()

    def top(self, slot: Slot, feature: int) -> list[tuple[int, float]]:
        """(image, activation) of the first twenty by rank."""
        column = self.firing[slot][:, feature]
        ranked = sorted((-float(value), image) for image, value in enumerate(column) if value > 0)
        return [(image, -value) for value, image in ranked[:20]]

    def vector(self, slot: Slot, feature: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        top = self.top(slot, feature)
        if len((self.firing[slot][:, feature] > 0).nonzero()[0]) < 9:
            return np.zeros(PROJECTION)
        total = sum(value for _, value in top)
        offset = sum(value / total * self.units[image].astype(np.float64) for image, value in top)
        offset = offset - self.units.astype(np.float64).mean(axis=0)
        return np.asarray(offset / np.linalg.norm(offset))
