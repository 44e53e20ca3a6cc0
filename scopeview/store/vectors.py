"""Search by vector: which features, or which images, lie nearest to an embedding. Never imports torch.

Knows nothing of words or pictures: whoever asks brings a vector of the index's projection, of any length.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from scopeview.slots import Slot
from scopeview.store.records import Hit

VectorKind = Literal["exact", "ivf"]


@dataclass(frozen=True)
class VectorIndex:
    """Vectors to be searched by cosine. Safe to share between threads."""

    kind: VectorKind = (
        "exact"  # ivf: the nearest are looked for in the nearest cells alone, and may be missed
    )

    def __len__(self) -> int:
        return 0

    def nearest(self, vector: Float[np.ndarray, " projection"], k: int) -> list[Hit]:  # noqa: ARG002
        """The k nearest by cosine, best first; fewer where there are fewer. Nothing for a zero vector."""
        return []


class Vectors:
    """What of an index can be searched; each part is opened when it is first asked for, and kept."""

    def features(self, slot: Slot) -> VectorIndex:  # noqa: ARG002
        """The slot's active features by their vectors; empty where the index was not described."""
        return VectorIndex()

    def images(self) -> VectorIndex:
        """Every image by its CLIP embedding."""
        return VectorIndex()
