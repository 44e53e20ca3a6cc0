"""What follows from an image's sparse codes: peaks, masses, codes at slots, and joining what is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.analysis.decomposition import (
    Decomposition,
    LayerDecomposition,
    Peaks,
    StoredPeaks,
    StoredValues,
    codes_of,
)
from scopeview.slots import Slot
from tests.scopeview.layer_decompositions import layer_decomposition, random_layer

BY_HAND = layer_decomposition(
    [[4, 7, 1], [7, 4, 2], [2, 7, 5]],
    [[5, 2, -1], [3, 3, 0], [3, 3, 1]],
    norms=[[2, 1, 1], [1, 2, 3], [3, 1, 10]],
)


def test_a_peak_is_the_highest_value_at_the_first_token_that_reaches_it() -> None:
    peaks = Peaks(BY_HAND)
    assert peaks.features.tolist() == [4, 2, 7, 5]
    assert peaks.values.tolist() == [5, 3, 3, 1]
    assert peaks.positions.tolist() == [0, 2, 1, 2]
    assert peaks.n_tokens.tolist() == [2, 1, 3, 1]
    assert peaks.masses.tolist() == [5 * 2 + 3 * 2, 3 * 3, 2 + 3 + 3, 10]


def test_peaks_of_some_tokens_know_no_others() -> None:
    peaks = Peaks(BY_HAND, [1, 0, 1])
    assert peaks.features.tolist() == [4, 7]
    assert peaks.positions.tolist() == [0, 1]
    assert peaks.masses.tolist() == [16, 5]
    assert len(Peaks(layer_decomposition([[3]], [[-1]]))) == 0


def test_a_value_that_is_not_above_zero_has_no_mass_and_does_not_fire() -> None:
    assert BY_HAND.masses.tolist() == [[10, 2, 0], [3, 6, 0], [9, 3, 10]]
    assert BY_HAND.l0.tolist() == [2, 2, 3]


def test_a_fixed_token_lists_all_that_a_topk_sae_keeps() -> None:
    (code,) = codes_of(Decomposition({3: BY_HAND}), [Slot(3, "cls")])
    assert [(one.feature, one.activation, one.position) for one in code.features] == [
        (4, 5, None),
        (7, 2, None),
        (1, -1, None),
    ]
    assert code.n_active == 2


def test_a_relu_saes_padding_is_in_no_code() -> None:
    relu = layer_decomposition([[1, 2], [2, 0]], [[4, 0], [1, 0.5]], k=None)
    cls, anywhere = codes_of(Decomposition({3: relu}), [Slot(3, "cls"), Slot(3, "any")])
    assert [one.feature for one in cls.features] == [1]
    assert [one.feature for one in anywhere.features] == [1, 2, 0]


def test_any_is_cut_at_k_and_counts_all_that_fire() -> None:
    (code,) = codes_of(Decomposition({3: BY_HAND}), [Slot(3, "any")])
    assert (code.n_active, [one.feature for one in code.features]) == (4, [4, 2, 7])


@given(st.integers(0, 10**6), st.sets(st.integers(0, 4), min_size=1))
def test_peaks_equal_their_brute_force_twin(seed: int, tokens: set[int]) -> None:
    layer = random_layer(seed)
    found = Peaks(layer, sorted(tokens))
    expected: dict[int, tuple[float, int, float]] = {}
    for token in sorted(tokens):
        row = zip(layer.features[token].tolist(), layer.values[token].tolist(), strict=True)
        for feature, value in row:
            if value > 0:
                peak, position, mass = expected.get(feature, (0.0, 0, 0.0))
                better = (value, token) if value > peak else (peak, position)
                expected[feature] = (*better, mass + value * (1 + feature / 4))
    ranked = sorted(expected.items(), key=lambda item: (-item[1][0], item[0]))
    columns = (found.features, found.values, found.positions, found.masses)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        (feature, *rest) for feature, rest in ranked
    ]


def test_the_code_of_a_token_can_be_put_in_the_place_of_another() -> None:
    given = (np.array([9, 8], np.int32), np.array([2, 1], np.float32), np.array([3, 5], np.float32))
    changed = BY_HAND.with_code(1, *given)
    assert changed.features.tolist() == [[4, 7, 1], [9, 8, 0], [2, 7, 5]]
    assert changed.values[1].tolist() == [2, 1, 0]
    assert changed.masses.tolist() == [[10, 2, 0], [6, 5, 0], [9, 3, 10]]
    assert BY_HAND.features[1].tolist() == [7, 4, 2]


def test_a_longer_code_makes_room() -> None:
    narrow = layer_decomposition([[1], [2]], [[5], [4]], k=None)
    changed = narrow.with_code(0, np.arange(2, dtype=np.int32), *[np.array([7, 6], np.float32)] * 2)
    assert changed.values.tolist() == [[7, 6], [4, 0]]


def part(*layers: int, embedding: bool = False) -> Decomposition:
    found: dict[int | str, LayerDecomposition] = {layer: random_layer(layer) for layer in layers}
    return Decomposition(found, np.ones(4, np.float32) if embedding else None)  # type: ignore[arg-type]


def test_what_is_known_of_an_image_adds_up() -> None:
    both = part(1).merged(part(2, embedding=True))
    assert both.covers([1, 2], embedding=True)
    assert both.n_bytes == part(1).n_bytes + part(2).n_bytes + 16
    assert both.merged(part(1)).layers[1] is both.layers[1]


@pytest.mark.parametrize(("layers", "embedding"), [([1, 2], False), ([1], True), (["embed"], False)])
def test_what_is_missing_is_missed(layers: list[int], embedding: bool) -> None:
    assert part(1).covers([1], embedding=False)
    assert not part(1).covers(layers, embedding=embedding)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 8))
def test_stored_maxima_stay_what_they_are_whatever_was_computed_again(
    seed: int, other: int, n_stored: int
) -> None:
    """`again` is anything else, as it would be of another image: no feature rises above what is stored."""
    again, truth = random_layer(other), Peaks(random_layer(seed))
    stored = StoredPeaks(
        truth.features[:n_stored],
        truth.values[:n_stored],
        truth.positions[:n_stored],
        (1 + truth.features[:n_stored] / 4).astype(np.float32),
        bound=float(truth.values[:n_stored].min(initial=np.inf)) if n_stored < len(truth) else 0.0,
    )
    found = again.with_peaks(stored)
    peaks = Peaks(found)
    n_listed = len(stored.features)
    for column in ("features", "values", "positions"):
        assert getattr(peaks, column)[:n_listed].tolist() == getattr(stored, column).tolist()
    assert (peaks.values[n_listed:] < stored.bound).all()
    assert (np.diff(found.values, axis=1) <= 0).all()


def test_a_stored_maximum_of_zero_silences_a_feature() -> None:
    silent = StoredPeaks(
        np.array([7], np.int32), np.zeros(1, np.float32), np.zeros(1, np.int64), np.ones(1, np.float32), 9.0
    )
    assert 7 not in Peaks(BY_HAND.with_peaks(silent)).features
    assert Peaks(BY_HAND.with_peaks(silent)).values.tolist() == [5, 3, 1]


def test_exact_are_the_tokens_whose_codes_are_stored() -> None:
    assert BY_HAND.is_exact_at(None)
    some = replace(BY_HAND, stored=StoredValues(frozenset({0, 2}), frozenset(), None))
    assert [some.is_exact_at(tokens) for tokens in ([0], [0, 2], [0, 1], None)] == [True, True, False, False]
