"""Which feature represents a kind of thing, a colour or both: chosen on the scenes of an index, at `any`.

Among the features whose nine top scenes all show the concept (`score`), the one that ranks the index's scenes
best is chosen: the highest average precision of its activations, where a scene on which it does not fire
counts as not found. A concept without such a feature has none. The rule was fixed before any model was
measured.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from indexer.evaluation.concepts import Group, concepts
from indexer.evaluation.score import N_TOP, Top, n_showing
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader

OBJECT_GROUPS: tuple[Group, ...] = ("kind", "colour", "kind and colour")

Ranked = Mapping[int, Int64[np.ndarray, " _"]]
"""For each feature the scenes on which it fires, highest activation first."""


class ObjectFeatures(NamedTuple):
    """The object concepts of one layer, in ascending order, and the feature that represents each."""

    concepts: Int64[np.ndarray, " thing"]
    features: Int64[np.ndarray, " thing"]
    precisions: Float64[np.ndarray, " thing"]
    """Average precision on the index's scenes."""


def read_rankings(reader: IndexReader, slot: Slot) -> dict[int, Int64[np.ndarray, " _"]]:
    """All of a slot's features with the scenes on which they fire."""
    found = reader.columns(
        "SELECT feature, image_id FROM activations WHERE layer = $layer AND token = $token"
        " ORDER BY feature, activation DESC, image_id",
        {"layer": str(slot.layer), "token": slot.token},
    )
    features, starts = np.unique(found["feature"], return_index=True)
    scenes = np.split(found["image_id"].astype(np.int64), starts[1:])
    return dict(zip(features.tolist(), scenes, strict=True))


def object_features(ranked: Ranked, top: Top, shown: Bool[np.ndarray, "scene concept"]) -> ObjectFeatures:
    """Chooses each concept's feature; `shown` is the truth of the scenes. Ties go to the lower feature."""
    counts = n_showing(shown, top.scenes)
    totals = shown.sum(axis=0)
    best: list[tuple[int, int, float]] = []
    for number, concept in enumerate(concepts()):
        if concept.group not in OBJECT_GROUPS:
            continue
        scored = [
            (average_precision(shown[ranked[feature], number], int(totals[number])), -feature)
            for feature in top.features[counts[:, number] == N_TOP].tolist()
        ]
        if scored:
            precision, feature = max(scored)
            best.append((number, -feature, precision))
    numbers, features, precisions = np.array(best, dtype=np.float64).reshape(-1, 3).T
    return ObjectFeatures(numbers.astype(np.int64), features.astype(np.int64), precisions)


def average_precision(found: Bool[np.ndarray, " rank"], n_relevant: int) -> float:
    """`found`: whether each scene, highest first, shows the concept; `n_relevant` of all scenes do."""
    ranks = np.flatnonzero(found) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / n_relevant)
