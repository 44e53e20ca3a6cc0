"""Does a feature's heatmap peak on the thing that the feature represents, in scenes outside any index?

In a fresh scene that shows the thing, it is a hit if the thing is visible at the very middle of the heatmap's
strongest patch, as in `located`. If the feature fires at no patch, there is no maximum, and that is a miss.
CLS, which heatmaps do not show, is left out. There are two baselines: a random patch, and the strongest patch
of another, random feature that fires in the same scene. The second is needed since things stand out: a
heatmap that followed whatever stands out would say nothing about this thing.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from indexer.evaluation.concepts import Concept, Group, concepts
from indexer.evaluation.heatmap_features import OBJECT_GROUPS, ObjectFeatures
from indexer.evaluation.scenes import SceneTruths
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.heatmap import feature_heatmaps


class LocalizationPairs(NamedTuple):
    """Pairs of a concept and a fresh scene that shows it, at one layer."""

    concepts: Int64[np.ndarray, " pair"]
    fires: Bool[np.ndarray, " pair"]
    """True if the thing's feature fires at some patch."""
    inside: Bool[np.ndarray, " pair"]
    """True if the thing is visible at the middle of the strongest patch."""
    touching: Bool[np.ndarray, " pair"]
    """True if the thing is visible in at least one pixel of that patch."""
    other: Bool[np.ndarray, " pair"]
    """`inside` for another feature that fires in the scene."""
    chance: Float64[np.ndarray, " pair"]
    """The expected value of `inside` for a random patch."""


class HeatmapShares(NamedTuple):
    """Shares of the pairs of one layer and group; None if there are no pairs."""

    n_things: int
    """Concepts of the group that have a feature."""
    n_concepts: int
    """All concepts of the group."""
    n_pairs: int
    fires: float | None
    inside: float | None
    touching: float | None
    inside_firing: float | None
    """The share of `inside` among the pairs in which the feature fires."""
    other: float | None
    chance: float | None


class PeakPatches(NamedTuple):
    """The strongest patch of each of some features in one image; patches are counted from 0."""

    fires: Bool[np.ndarray, " feature"]
    patches: Int64[np.ndarray, " feature"]


def localization_pairs(
    layer: LayerDecomposition,
    things: ObjectFeatures,
    truth: SceneTruths,
    shown: Bool[np.ndarray, " concept"],
    random: np.random.Generator,
) -> LocalizationPairs:
    """The pairs of one scene, given its content."""
    here = shown[things.concepts]
    wanted = things.concepts[here]
    own = _peak_patches(layer, things.features[here])
    others = _peak_patches(layer, _other_features(layer, things.features[here], random))
    n_things = truth.kinds.shape[1]
    fits = [_matching_objects(concepts()[number], truth) for number in wanted]
    fitting = np.array(fits, dtype=bool).reshape(-1, n_things)
    seen = (fitting[:, :, None] & truth.centred[0]).any(axis=1)
    touched = (fitting[:, :, None] & truth.touched[0]).any(axis=1)
    each = np.arange(len(wanted))
    return LocalizationPairs(
        concepts=wanted,
        fires=own.fires,
        inside=own.fires & seen[each, own.patches],
        touching=own.fires & touched[each, own.patches],
        other=others.fires & seen[each, others.patches],
        chance=seen.mean(axis=1),
    )


def concatenate_pairs(found: Sequence[LocalizationPairs]) -> LocalizationPairs:
    """Concatenates the pairs of one or more scenes."""
    return LocalizationPairs(*(np.concatenate(column) for column in zip(*found, strict=True)))


def shares_by_group(things: ObjectFeatures, pairs: LocalizationPairs) -> dict[Group, HeatmapShares]:
    """The shares of all scenes of one layer."""
    groups = np.array([concept.group for concept in concepts()])
    return {
        group: _shares(
            LocalizationPairs(*(column[groups[pairs.concepts] == group] for column in pairs)),
            n_things=int((groups[things.concepts] == group).sum()),
            n_concepts=int((groups == group).sum()),
        )
        for group in OBJECT_GROUPS
    }


def _shares(pairs: LocalizationPairs, *, n_things: int, n_concepts: int) -> HeatmapShares:
    return HeatmapShares(
        n_things=n_things,
        n_concepts=n_concepts,
        n_pairs=len(pairs.fires),
        fires=_mean(pairs.fires),
        inside=_mean(pairs.inside),
        touching=_mean(pairs.touching),
        inside_firing=_mean(pairs.inside[pairs.fires]),
        other=_mean(pairs.other),
        chance=_mean(pairs.chance),
    )


def _peak_patches(layer: LayerDecomposition, features: Int64[np.ndarray, " feature"]) -> PeakPatches:
    patches: Float32[np.ndarray, "feature patch"] = feature_heatmaps(layer, features.tolist())[:, 1:]
    return PeakPatches(patches.max(axis=1, initial=0) > 0, patches.argmax(axis=1))


def _other_features(
    layer: LayerDecomposition, features: Int64[np.ndarray, " feature"], random: np.random.Generator
) -> Int64[np.ndarray, " feature"]:
    """For each feature a random other one that fires at some patch; itself if there is none."""
    firing = np.unique(layer.features[1:][layer.values[1:] > 0]).astype(np.int64)
    candidates = [firing[firing != feature] for feature in features]
    picked = [
        random.choice(among) if len(among) else feature
        for feature, among in zip(features, candidates, strict=True)
    ]
    return np.array(picked, dtype=np.int64)


def _matching_objects(concept: Concept, truth: SceneTruths) -> Bool[np.ndarray, " thing"]:
    """True for the things of the scene that match the concept."""
    kinds, colours = truth.kinds[0], truth.colours[0]
    fits: Bool[np.ndarray, " thing"] = kinds >= 0
    if concept.kind is not None:
        fits = fits & (kinds == concept.kind)
    if concept.colour is not None:
        fits = fits & (colours == concept.colour)
    return fits


def _mean(values: Bool[np.ndarray, " pair"] | Float64[np.ndarray, " pair"]) -> float | None:
    return float(values.mean()) if len(values) else None
