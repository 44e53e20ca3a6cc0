"""Queries for the results of the describe stage: a feature's names, neighbors and places.

They are in a separate database beside the index's, attached as `described`. For an index that was not
described (made by an older version, or still being made) the result is None.
"""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from scopeview.slots import ANY, Layer, Slot, parse_layer
from scopeview.store.feature_rows import Described, Placed
from scopeview.store.gallery import NAMED
from scopeview.store.index_folder import IN_SLOT, IndexFolder, slot_values
from scopeview.store.records import NEIGHBOR_KINDS, Description, Name, NameMatch, Neighbor, NeighborKind
from scopeview.store.vectors import Modality

# DuckDB's `\b` knows no letters but those of English.
_EDGE = r"(^|$|[^\pL\pN])"
_NAME_MATCHES = f"""
  SELECT feature, rank, names[rank], name_scores[rank],
         rank = 1 AND regexp_matches(lower(names[1]), $whole_words) AS is_its_name
  FROM (
    SELECT feature, names, name_scores,
           list_position(list_transform(names, lambda name: contains(lower(name), $name)), true) AS rank
    FROM described.features WHERE {IN_SLOT} AND {NAMED}
  )
  WHERE rank > 0
  QUALIFY row_number() OVER (PARTITION BY is_its_name ORDER BY {{order}}) <= $limit
  ORDER BY is_its_name DESC, {{order}}
""".format(order="is_its_name AND lower(names[1]) = $name DESC, rank, name_scores[rank] DESC, feature")

_UNKNOWN = Described([], [], None, None, [], None, None)


class DescribedReader(IndexFolder):
    """The part of `IndexReader` that reads descriptions."""

    def description(self, slot: Slot, feature: int) -> Description | None:
        """Returns a feature's description; None if the index was not described. Raises `NotFoundError`."""
        self._check_feature(slot, feature)
        if not self.is_described:
            return None
        row, there = self._row(slot, feature), self._row(Slot(slot.layer, ANY), feature)
        found = row.described() if row is not None else self._described(slot, feature)
        placed = there.placed() if there is not None else self._places(slot, feature)
        near = row.neighbors(self._layers) if row is not None else self._neighbors(slot, feature)
        return _description(slot, found, placed, near)

    def neighbors_in(
        self, slot: Slot, features: Sequence[int], layer: Layer, kind: NeighborKind
    ) -> list[tuple[int, Neighbor]]:
        """Returns pairs of a feature and a neighbor of this kind in `layer`, by feature and then by rank."""
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

    def name_matches(self, slot: Slot, words: str, *, limit: int) -> list[NameMatch]:
        """Returns the features that have a name containing these words; case is ignored.

        At most `limit` features whose best name contains them as whole words come first, exact matches before
        others; then at most `limit` other features. Each part is sorted by the rank of the matching name,
        then by its score.
        """
        words = " ".join(words.lower().split())
        whole_words = _EDGE + re.escape(words) + _EDGE
        values = {**slot_values(slot), "name": words, "whole_words": whole_words, "limit": limit}
        return [NameMatch(*row) for row in self.sql(_NAME_MATCHES, values)]

    def means(self) -> dict[Modality, Float32[np.ndarray, " projection"]]:
        """Returns the mean unit embedding of all images; an empty dict if the index was not described."""
        rows = self.sql("SELECT of, mean FROM described.means")
        return {of: np.asarray(mean, dtype=np.float32) for of, mean in rows}

    def usual_name_score(self) -> float | None:
        """Returns the cosine that nine in ten features reach with their best name; None without names."""
        return self._usual_name_score

    @cached_property
    def _usual_name_score(self) -> float | None:
        if not self.is_described:
            return None
        rows = self.sql(
            "SELECT quantile_disc(name_scores[1], 0.1) FROM described.features WHERE len(name_scores) > 0"
        )
        return None if rows[0][0] is None else float(rows[0][0])

    @cached_property
    def _layers(self) -> list[Layer]:
        return [record.layer for record in self.manifest.layers]

    def _described(self, slot: Slot, feature: int) -> Described:
        rows = self.sql(
            "SELECT names, name_scores, clarity, label_entropy, folds, x, y"
            f" FROM described.features WHERE {IN_SLOT} AND feature = $feature LIMIT 1",
            {**slot_values(slot), "feature": feature},
        )
        return Described(*rows[0]) if rows else _UNKNOWN

    def _places(self, slot: Slot, feature: int) -> Placed:
        if Slot(slot.layer, ANY) not in self.manifest.slots:
            return Placed()
        rows = self.sql(
            "SELECT positions, at_cls, selectivity FROM described.places"
            " WHERE layer = $layer AND feature = $feature LIMIT 1",
            {"layer": str(slot.layer), "feature": feature},
        )
        return Placed(*rows[0]) if rows else Placed()

    def _neighbors(self, slot: Slot, feature: int) -> list[Neighbor]:
        """The neighbors by kind, then by layer in the index's order, then by rank."""
        rows = self.sql(
            "SELECT kind, other_layer, features, scores FROM described.neighbors"
            f" WHERE {IN_SLOT} AND feature = $feature",
            {**slot_values(slot), "feature": feature},
        )
        layers = list(map(str, self._layers))
        rows.sort(key=lambda row: (NEIGHBOR_KINDS.index(row[0]), layers.index(row[1])))
        return [
            Neighbor(kind, parse_layer(layer), other, score)
            for kind, layer, features, scores in rows
            for other, score in zip(features, scores, strict=True)
        ]


def _description(slot: Slot, found: Described, placed: Placed, neighbors: Sequence[Neighbor]) -> Description:
    return Description(
        names=[Name(word, score) for word, score in zip(found.names, found.name_scores, strict=True)],
        clarity=found.clarity,
        label_entropy=found.label_entropy,
        selectivity=placed.selectivity,
        positions=placed.positions,
        at_cls=placed.at_cls,
        folds=found.folds,
        within=[neighbor for neighbor in neighbors if neighbor.layer == slot.layer],
        across=[neighbor for neighbor in neighbors if neighbor.layer != slot.layer],
        x=found.x,
        y=found.y,
    )
