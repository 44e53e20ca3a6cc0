"""A stand-in for the text encoder and for what is near a vector, so that search is tested without torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from app.engine.text_encoders import Vector
from scopeview.slots import Slot
from scopeview.store.records import Hit
from scopeview.store.vectors import Modality
from tests.app.encoder import PROJECTION


@dataclass
class FakeTower:
    """Each text becomes its length, in every direction."""

    asked: list[str] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> Vector:
        self.asked += texts
        return np.asarray([[len(text)] * PROJECTION for text in texts], dtype=np.float32)

    def unknown_words(self, text: str) -> list[str]:
        """Those that begin with q."""
        return [word for word in dict.fromkeys(text.split()) if word.startswith("q")]


def tower_factory(tower: FakeTower) -> Callable[[Path], FakeTower]:
    return lambda _: tower


class FakeVectors:
    """Near every vector lie the features and images whose numbers follow its first component."""

    def __init__(self, *, described: bool = True) -> None:
        self.described = described

    def centred(self, vector: Vector, of: Modality) -> Vector:
        """Words are moved by 100, so that a test sees which of the two was asked with."""
        return vector + (100 if of == "text" else 0)

    def features(self, slot: Slot) -> "Near":
        return Near(0.2 + len(slot.name) / 10_000, 96 if self.described else 0)

    def images(self) -> "Near":
        return Near(0.5, 64)


@dataclass(frozen=True)
class Near:
    best: float  # cosine of the first
    n: int

    def __len__(self) -> int:
        return self.n

    def nearest(self, vector: Vector, k: int) -> list[Hit]:
        first = int(vector[0])
        return [Hit((first + i) % self.n, self.best - i / 1000) for i in range(min(k, self.n))]
