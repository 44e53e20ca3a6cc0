"""Heat: the value where the SAE keeps the feature, zero elsewhere."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scopeview.analysis.decomposition import Peaks
from scopeview.analysis.heatmap import feature_heatmaps, mass_heat, with_stored
from tests.scopeview.layer_decompositions import layer_decomposition, random_layer

BY_HAND = layer_decomposition(
    [[4, 7], [7, 1], [2, 4]], [[5, 2], [3, -1], [3, 3]], norms=[[2, 1], [1, 9], [3, 2]]
)


def test_heat_is_the_value_where_the_feature_is_kept_and_zero_elsewhere() -> None:
    assert feature_heatmaps(BY_HAND, [4, 1, 6]).tolist() == [[5, 0, 3], [0, -1, 0], [0, 0, 0]]


def test_the_heat_of_a_group_is_the_mass_of_its_features() -> None:
    assert mass_heat(BY_HAND, [4, 7, 1]).tolist() == [12, 3, 6]
    assert mass_heat(BY_HAND, []).tolist() == [0, 0, 0]


@given(st.integers(0, 10**6))
def test_the_maximum_of_the_heat_is_the_code_at_any(seed: int) -> None:
    layer = random_layer(seed)
    highest = feature_heatmaps(layer, range(8)).max(axis=1)
    peaks = Peaks(layer)
    firing = dict(zip(peaks.features.tolist(), peaks.values.tolist(), strict=True))
    assert {feature: value for feature, value in enumerate(highest.tolist()) if value > 0} == firing


@given(st.integers(0, 10**6))
def test_the_heats_of_all_features_add_up_to_all_mass(seed: int) -> None:
    layer = random_layer(seed)
    np.testing.assert_allclose(mass_heat(layer, range(8)), layer.masses.sum(axis=1))
    np.testing.assert_array_equal(feature_heatmaps(layer, range(8)).sum(axis=0), layer.values.sum(axis=1))


def test_heat_of_a_thumbnail_agrees_with_what_the_index_stores() -> None:
    heat = np.array([1, 4, 6, -2, 0], np.float32)
    found = with_stored(heat, {0: 2.0}, (5.0, 4))
    assert found[[0, 1, 3, 4]].tolist() == [2, 4, -2, 5]
    assert 4.99 < found[2] < 5
    assert with_stored(heat, {}, (0.0, 0)).tolist() == [0, 0, 0, -2, 0]
    assert with_stored(heat, {0: 2.0}, None).tolist() == [2, 4, 6, -2, 0]
    assert heat.tolist() == [1, 4, 6, -2, 0]
