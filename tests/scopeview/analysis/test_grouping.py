"""Groups partition the active features by direction, and each holds its share of the mass."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scopeview.analysis.grouping import Group, group_features, spherical_k_means

# Three bundles of directions in the plane, of any length: right, up, and down to the left.
DIRECTIONS = np.array([[2, 0.1], [9, -0.2], [0.1, 3], [0, 1], [-5, -5], [-1, -1.2]], np.float32)
FEATURES = np.array([70, 10, 20, 60, 30, 50])
MASSES = np.array([1, 4, 3, 2, 6, 4], np.float32)


def members(groups: list[Group]) -> list[list[int]]:
    return [group.features.tolist() for group in groups]


def test_directions_alike_come_together_heaviest_first() -> None:
    groups = group_features(FEATURES, MASSES, DIRECTIONS, threshold=0.25)
    assert members(groups) == [[30, 50], [10, 70], [20, 60]]
    assert [group.share for group in groups] == [0.5, 0.25, 0.25]
    assert groups[1].masses.tolist() == [4, 1]


def test_a_group_below_the_threshold_is_not_split_off() -> None:
    groups = group_features(FEATURES, MASSES, DIRECTIONS, threshold=0.26)
    assert len(groups) == 2
    assert min(group.share for group in groups) >= 0.26


def test_a_threshold_above_one_half_leaves_one_group() -> None:
    (group,) = group_features(FEATURES, MASSES, DIRECTIONS, threshold=0.51)
    assert group.features.tolist() == [30, 10, 50, 20, 60, 70]
    assert group.share == 1


def test_as_many_groups_as_hold_their_share() -> None:
    alone = group_features(np.arange(4), np.ones(4), np.eye(4), threshold=0.25)
    assert members(alone) == [[0], [1], [2], [3]]
    assert len(group_features(np.arange(4), np.ones(4), np.eye(4), threshold=0.25, most_groups=2)) <= 2


def test_no_features_give_no_groups_and_one_feature_one() -> None:
    assert group_features(np.arange(0), np.ones(0), np.eye(0)) == []
    assert members(group_features(np.array([7]), np.ones(1), np.ones((1, 3)))) == [[7]]


def test_equal_directions_are_one_cluster_however_many_are_asked_for() -> None:
    clusters = spherical_k_means(np.tile(np.array([0.6, 0.8], np.float32), (5, 1)), np.ones(5), 3)
    assert (clusters.k, clusters.owners.tolist()) == (1, [0] * 5)
    assert clusters.similarity == pytest.approx(1)


def test_weights_move_the_centre() -> None:
    angles = np.radians([0, 40, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    near_first = spherical_k_means(points, np.array([1.0, 1.0, 50.0]), 1).similarity
    assert near_first == pytest.approx((np.cos(np.radians(80)) + np.cos(np.radians(40)) + 50) / 52, abs=0.01)


@st.composite
def active_features(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    n = draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    directions = random.normal(size=(n, draw(st.integers(1, 6)))).astype(np.float32)
    if draw(st.booleans()):
        directions[random.integers(0, n, n)] = directions[0]
    masses = random.exponential(size=n).astype(np.float32) + np.float32(1e-6)
    return random.permutation(100)[:n], masses, directions, draw(st.floats(0.01, 1))


@settings(max_examples=30)
@given(active_features())
def test_groups_partition_the_features_and_their_shares_sum_to_one(
    given_features: tuple[np.ndarray, np.ndarray, np.ndarray, float],
) -> None:
    features, masses, directions, threshold = given_features
    groups = group_features(features, masses, directions, threshold=threshold)
    assert sorted(chain.from_iterable(members(groups))) == sorted(features.tolist())
    assert sum(group.share for group in groups) == pytest.approx(1, abs=1e-9)
    assert min(group.share for group in groups) >= threshold - 1e-6 or len(groups) == 1
    mass = dict(zip(features.tolist(), masses.astype(np.float64).tolist(), strict=True))
    for group in groups:
        assert group.masses.tolist() == [mass[feature] for feature in group.features.tolist()]
    again = group_features(features, masses, directions, threshold=threshold)
    assert members(again) == members(groups)


@settings(max_examples=30)
@given(active_features())
def test_lengths_of_directions_make_no_difference(
    given_features: tuple[np.ndarray, np.ndarray, np.ndarray, float],
) -> None:
    features, masses, directions, threshold = given_features
    longer = directions * np.float32(4)
    found, expected = (group_features(features, masses, d, threshold=threshold) for d in (longer, directions))
    assert members(found) == members(expected)


@settings(max_examples=30)
@given(st.integers(0, 10**4), st.integers(1, 5))
def test_every_point_is_with_its_nearest_centre(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    points = random.normal(size=(25, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    weights = random.exponential(size=25)
    clusters = spherical_k_means(points, weights, k)
    centres = np.stack(
        [(weights[:, None] * points)[clusters.owners == cluster].sum(axis=0) for cluster in range(clusters.k)]
    )
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = points @ centres.T
    own = cosines[np.arange(25), clusters.owners]
    assert (own >= cosines.max(axis=1) - 1e-5).all()
    assert clusters.similarity == pytest.approx(weights @ own / weights.sum(), abs=1e-5)


def test_of_very_many_features_the_light_ones_join_the_nearest_group() -> None:
    random = np.random.default_rng(1)
    bundles = np.eye(6, dtype=np.float32)
    of = random.integers(0, 6, 3000)
    directions = (bundles[of] + 0.1 * random.normal(size=(3000, 6))).astype(np.float32)
    masses = random.exponential(size=3000).astype(np.float32)
    groups = group_features(np.arange(3000), masses, directions, threshold=0.1)
    assert len(groups) == 6
    assert sorted(chain.from_iterable(members(groups))) == list(range(3000))
    assert sum(group.share for group in groups) == pytest.approx(1, abs=1e-9)
    assert [len(set(of[group.features].tolist())) for group in groups] == [1] * 6
