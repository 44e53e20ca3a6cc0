"""Questions about what the describe stage found: a feature's names, neighbours and places.

The answers lie in a database of their own beside the index's, attached as `described`. An index that was not
described (made by an older version, or still being made) answers with None.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from scopeview.slots import ANY, Layer, Slot, parse_layer
from scopeview.store.folder import IN_SLOT, IndexFolder, slot_values
from scopeview.store.records import NEIGHBOR_KINDS, Description, Name, Neighbor, NeighborKind
from scopeview.store.vectors import Modality

_UNKNOWN: tuple[Any, ...] = ([], [], None, None, [], None, None)


class DescribedReader(IndexFolder):
    """The part of `IndexReader` that reads descriptions."""

    def description(self, slot: Slot, feature: int) -> Description | None:
        """None: this index was not described. Raises `NotFoundError` for a feature that the layer lacks."""
        self._check_feature(slot, feature)
        if not self.is_described:
            return None
        rows = self.sql(
            "SELECT names, name_scores, clarity, label_entropy, folds, x, y"
            f" FROM described.features WHERE {IN_SLOT} AND feature = $feature LIMIT 1",
            {**slot_values(slot), "feature": feature},
        )
        names, scores, clarity, label_entropy, folds, x, y = rows[0] if rows else _UNKNOWN
        positions, at_cls, selectivity = self._places(slot, feature)
        neighbors = self._neighbors(slot, feature)
        return Description(
            names=[Name(word, score) for word, score in zip(names, scores, strict=True)],
            clarity=clarity,
            label_entropy=label_entropy,
            selectivity=selectivity,
            positions=positions,
            at_cls=at_cls,
            folds=folds,
            within=[neighbor for neighbor in neighbors if neighbor.layer == slot.layer],
            across=[neighbor for neighbor in neighbors if neighbor.layer != slot.layer],
            x=x,
            y=y,
        )

    def near_in(
        self, slot: Slot, features: Sequence[int], layer: Layer, kind: NeighborKind
    ) -> list[tuple[int, Neighbor]]:
        """Each of these features with its neighbours of that kind in a layer, by feature and then by rank."""
        rows = self.sql(
            "SELECT feature, features, scores FROM described.neighbors"
            f" WHERE {IN_SLOT} AND kind = $kind AND other_layer = $other"
            " AND feature IN (SELECT unnest($features::INTEGER[])) ORDER BY feature",
            {**slot_values(slot), "kind": kind, "other": str(layer), "features": list(features)},
        )
        return [
            (feature, Neighbor(kind, layer, other, score))
            for feature, others, scores in rows
            for other, score in zip(others, scores, strict=True)
        ]

    def means(self) -> dict[Modality, Float32[np.ndarray, " projection"]]:
        """The mean unit embedding of all images; nothing where the index was not described."""
        rows = self.sql("SELECT of, mean FROM described.means")
        return {of: np.asarray(mean, dtype=np.float32) for of, mean in rows}

    def _places(self, slot: Slot, feature: int) -> tuple[list[int] | None, int | None, float | None]:
        """Images by patch, images at CLS, and the selectivity that follows."""
        if ANY not in self.manifest.tokens:
            return None, None, None
        rows = self.sql(
            "SELECT positions, at_cls, selectivity FROM described.places"
            " WHERE layer = $layer AND feature = $feature LIMIT 1",
            {"layer": str(slot.layer), "feature": feature},
        )
        return rows[0] if rows else (None, None, None)

    def _neighbors(self, slot: Slot, feature: int) -> list[Neighbor]:
        """By kind, then by layer in the index's order, then by rank."""
        rows = self.sql(
            "SELECT kind, other_layer, features, scores FROM described.neighbors"
            f" WHERE {IN_SLOT} AND feature = $feature",
            {**slot_values(slot), "feature": feature},
        )
        layers = [str(record.layer) for record in self.manifest.layers]
        rows.sort(key=lambda row: (NEIGHBOR_KINDS.index(row[0]), layers.index(row[1])))
        return [
            Neighbor(kind, parse_layer(layer), other, score)
            for kind, layer, features, scores in rows
            for other, score in zip(features, scores, strict=True)
        ]
