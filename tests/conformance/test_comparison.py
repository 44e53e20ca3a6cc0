"""The comparison itself: it must not pass what differs."""

import numpy as np
import pytest

from tests.conformance.comparison import Array, Difference, LatentDifference

PRE = np.array([[5.0, 4.0, 3.0, 3.0 - 1e-6, 1.0]])


def codes(features: list[int], values: list[float]) -> tuple[Array, Array]:
    return np.array([features]), np.array([values])


def compared(mine: tuple[Array, Array], yours: tuple[Array, Array]) -> LatentDifference:
    difference = LatentDifference()
    difference.add(mine, yours, PRE)
    return difference


def test_equal_arrays_are_equal_and_nothing_at_all_is_not() -> None:
    difference = Difference()
    assert not difference.equal
    difference.add(np.ones(3), np.ones(3))
    assert difference.equal


def test_the_largest_difference_counts() -> None:
    difference = Difference()
    difference.add(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    difference.add(np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert (difference.n_values, difference.n_unequal, difference.max_absolute) == (4, 1, 2.0)
    assert difference.max_relative == 0.5


def test_arrays_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Difference().add(np.ones((2, 1)), np.ones(2))
    with pytest.raises(ValueError, match="shape"):
        compared(codes([0], [5.0]), codes([0, 1], [5.0, 4.0]))


def test_order_does_not_matter_but_every_value_does() -> None:
    same = compared(codes([0, 1, 2], [5.0, 4.0, 3.0]), codes([2, 0, 1], [3.0, 5.0, 4.0]))
    assert same.holds
    assert same.n_bitwise == 1
    assert not compared(codes([0, 1, 2], [5.0, 4.0, 3.0]), codes([0, 1, 2], [5.0, 4.001, 3.0])).holds


def test_another_feature_is_accepted_only_next_to_the_boundary_and_is_counted() -> None:
    near = compared(codes([0, 1, 2], [5.0, 4.0, 3.0]), codes([0, 1, 3], [5.0, 4.0, 3.0]))
    assert (near.n_other, near.n_near_ties, near.n_wrong, near.holds) == (1, 1, 0, True)
    far = compared(codes([0, 1, 2], [5.0, 4.0, 3.0]), codes([0, 1, 4], [5.0, 4.0, 1.0]))
    assert (far.n_other, far.n_near_ties, far.n_wrong, far.holds) == (1, 0, 1, False)
    assert "4 has 1" in far.examples[0]
