"""Queries for whole codes: which images of a slot have a code similar to a given one."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from scopeview.slots import Slot
from scopeview.store.index_folder import IN_SLOT, IndexFolder, slot_values
from scopeview.store.manifest import Manifest
from scopeview.store.records import Hit

_SLOTS_KEPT = 16  # 8 bytes an image each

_SHARED = f"""
SELECT image_id, sum(activation::DOUBLE * weight) AS shared
FROM (SELECT feature, activation, image_id FROM activations WHERE {IN_SLOT})
JOIN (SELECT unnest($features::INTEGER[]) AS feature, unnest($values::FLOAT[]) AS weight) USING (feature)
GROUP BY image_id
"""
_LENGTHS = f"""
SELECT image_id, sqrt(sum(activation::DOUBLE ** 2)) AS length
FROM activations WHERE {IN_SLOT} GROUP BY image_id
"""


class CodeReader(IndexFolder):
    """The part of `IndexReader` that compares codes."""

    def __init__(self, index_dir: Path, manifest: Manifest | None = None) -> None:
        super().__init__(index_dir, manifest)
        self._lengths = lru_cache(maxsize=_SLOTS_KEPT)(self._read_lengths)

    def images_by_code(
        self, slot: Slot, features: Sequence[int], values: Sequence[float], *, limit: int
    ) -> list[Hit]:
        """Returns the images whose codes have the highest cosine with this one, best first, equal ones by id.

        Values that are not above zero are ignored on both sides. At `any`, an image's code is everything that
        fires there, not only the strongest features listed by `codes`.
        """
        given = {feature: value for feature, value in zip(features, values, strict=True) if value > 0}
        own = float(np.linalg.norm(list(given.values()))) if given else 0.0
        if not given:
            return []
        asked = {**slot_values(slot), "features": list(given), "values": list(given.values())}
        found = self.columns(_SHARED, asked)
        ids = found["image_id"].astype(np.int64)
        cosines = found["shared"] / (self._lengths(slot)[ids] * own)
        order = np.lexsort((ids, -cosines))[:limit]
        return [Hit(int(ids[at]), float(cosines[at])) for at in order]

    def _read_lengths(self, slot: Slot) -> Float64[np.ndarray, " image"]:
        """The length of every image's code; 1 if nothing fires, to avoid a division by zero."""
        values: dict[str, Any] = slot_values(slot)
        found = self.columns(_LENGTHS, values)
        lengths = np.ones(self.manifest.n_images)
        lengths[found["image_id"]] = found["length"]
        return lengths
