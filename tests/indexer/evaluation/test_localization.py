"""Heat on scenes of four patches by hand; tokens 1 to 4 are the patches 0 to 3."""

import numpy as np
import pytest
from jaxtyping import Bool

from indexer.evaluation.concepts import shown
from indexer.evaluation.heatmap_features import ObjectFeatures
from indexer.evaluation.localization import (
    LocalizationPairs,
    concatenate_pairs,
    localization_pairs,
    shares_by_group,
)
from indexer.evaluation.scenes import SceneTruths
from scopeview.analysis.decomposition import LayerDecomposition
from tests.indexer.evaluation.made import number_of, truths
from tests.scopeview.layer_decompositions import layer_decomposition

# A heart at patch 0, a cat at patches 1 and 2.
SCENE = truths("red heart, blue cat", seen=[[[0], [1, 2]]])
HEART, CAT, RED = (number_of(name) for name in ("heart", "cat", "red"))
THINGS = ObjectFeatures(np.array([HEART, CAT, RED]), np.array([5, 6, 7]), np.ones(3))


def firing(*tokens: dict[int, float]) -> LayerDecomposition:
    """What fires at CLS, then at each patch; every row is filled up with features that do not."""
    rows = [sorted(token.items(), key=lambda pair: -pair[1]) for token in tokens]
    filled = [[*row, *((90 + i, 0.0) for i in range(3 - len(row)))] for row in rows]
    return layer_decomposition(
        [[feature for feature, _ in row] for row in filled], [[value for _, value in row] for row in filled]
    )


def found(layer: LayerDecomposition, scene: SceneTruths = SCENE) -> LocalizationPairs:
    return localization_pairs(layer, THINGS, scene, shown(scene)[0], np.random.default_rng(0))


def of(pairs: LocalizationPairs, concept: int, column: Bool[np.ndarray, " pair"]) -> list[bool]:
    picked: list[bool] = column[pairs.concepts == concept].tolist()
    return picked


def test_heat_that_peaks_on_the_thing_is_inside() -> None:
    pairs = found(firing({}, {5: 2, 6: 1}, {5: 1, 6: 3}, {}, {}))
    assert of(pairs, HEART, pairs.inside) == [True]
    assert of(pairs, CAT, pairs.inside) == [True]


def test_heat_that_peaks_on_another_thing_or_beside_all_is_not() -> None:
    pairs = found(firing({}, {6: 9}, {5: 2}, {}, {6: 10}))
    assert of(pairs, HEART, pairs.inside) == of(pairs, CAT, pairs.inside) == [False]
    assert pairs.fires.tolist() == [True, True, False]


def test_a_peak_at_cls_does_not_count_and_a_feature_that_fires_nowhere_else_is_a_miss() -> None:
    pairs = found(firing({5: 100, 6: 100}, {5: 1}, {}, {}, {}))
    assert of(pairs, HEART, pairs.inside) == [True]
    assert of(pairs, CAT, pairs.fires) == of(pairs, CAT, pairs.inside) == [False]


def test_scenes_without_the_thing_are_not_asked() -> None:
    pairs = found(firing(*[{5: 1.0}] * 5), truths("blue star", seen=[[[0]]]))
    assert len(pairs.fires) == 0


def test_a_colour_is_on_whatever_thing_has_it() -> None:
    scene = truths("red heart, red cat", seen=[[[0], [3]]])
    pairs = found(firing({}, {5: 1}, {}, {}, {7: 1}), scene)
    assert of(pairs, RED, pairs.inside) == [True]
    assert pairs.chance.tolist() == [0.25, 0.25, 0.5]


def test_another_feature_of_the_scene_stands_beside() -> None:
    pairs = found(firing({}, {5: 2, 70: 1}, {}, {}, {}))
    assert pairs.other[0]  # 70, which is the only other one
    assert not found(firing({}, {5: 2}, {70: 1}, {}, {})).other[0]


def test_shares_are_of_all_pairs_and_by_group() -> None:
    layers = [firing({}, {5: 2, 7: 1}, {}, {}, {}), firing({}, {}, {5: 2}, {}, {}), firing(*[{6: 1.0}] * 5)]
    shares = shares_by_group(THINGS, concatenate_pairs([found(layer) for layer in layers]))
    kind, colour = shares["kind"], shares["colour"]
    assert (kind.n_things, kind.n_concepts, kind.n_pairs) == (2, 26, 6)
    # The heart: a hit, a miss, silent. The cat: silent twice; then it fires first at patch 0, beside the cat.
    assert (kind.fires, kind.inside) == pytest.approx((3 / 6, 1 / 6))
    assert kind.inside_firing == pytest.approx(1 / 3)
    assert (colour.n_things, colour.n_pairs) == (1, 3)
    assert colour.inside == pytest.approx(1 / 3)
    assert kind.chance == pytest.approx((0.25 + 0.5) / 2)
    assert shares["kind and colour"] == (0, 312, 0, None, None, None, None, None, None)
