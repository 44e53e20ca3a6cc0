"""Tokens selected, in one spelling, and what is active there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.analysis.decomposition import Peaks
from scopeview.analysis.token_selection import format_positions, groups_here, parse_selection, summarize
from scopeview.errors import InputError
from tests.scopeview.layer_decompositions import layer_decomposition, random_layer

BY_HAND = layer_decomposition(
    [[4, 7, 1], [7, 4, 2], [2, 7, 5]],
    [[5, 2, -1], [3, 3, 0], [3, 3, 1]],
    norms=[[2, 1, 1], [1, 2, 3], [3, 1, 10]],
)
ALL = parse_selection("any", 3)


@pytest.mark.parametrize(
    ("text", "spelling", "positions"),
    [
        ("cls", "cls", (0,)),
        ("7", "7", (7,)),
        ("35,17,33-34,cls,17", "cls,17,33-35", (0, 17, 33, 34, 35)),
        ("3-4", "3,4", (3, 4)),
        ("any", "any", None),
        ("cls,1-256", "any", None),
    ],
)
def test_a_selection_has_one_spelling(text: str, spelling: str, positions: tuple[int, ...] | None) -> None:
    assert parse_selection(text, 257) == (spelling, positions)


@given(st.sets(st.integers(0, 256), min_size=1))
def test_what_is_spelled_is_read_back(positions: set[int]) -> None:
    chosen = sorted(positions)
    assert parse_selection(format_positions(chosen), 258).positions == tuple(chosen)


@pytest.mark.parametrize("text", ["", "0", "257", "4-3", "1-999999999999", "cls,", "x", "1 2", "+1", "any,1"])
def test_a_malformed_selection_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="from 1 to 256"):
        parse_selection(text, 257)


def test_the_embedding_has_one_token() -> None:
    assert parse_selection("cls", 1) == ("any", None)
    with pytest.raises(InputError, match=r"Expected any, cls.$"):
        parse_selection("1", 1)


def test_active_features_have_activation_mass_and_share() -> None:
    here = summarize(BY_HAND, parse_selection("cls,1", 3))
    assert [tuple(active) for active in here.features] == [
        (4, 5, 0, 2, 16, 16 / 21),
        (7, 3, 1, 2, 5, 5 / 21),
    ]
    assert (here.n_tokens, here.n_active, here.mass) == (2, 2, 21)


def test_the_figures_are_means_over_the_tokens_selected() -> None:
    here = summarize(BY_HAND, parse_selection("1,2", 3))
    assert (here.mse, here.l0) == (1.5, 2.5)
    assert here.explained_variance == pytest.approx((0.75 + 1) / 2)


def test_a_share_of_no_variance_is_unknown() -> None:
    layer = layer_decomposition([[1]], [[2]])
    layer.explained_variance[:] = np.nan
    assert summarize(layer, parse_selection("cls", 1)).explained_variance is None


def test_order_threshold_and_top_cut_the_list_alone() -> None:
    by_mass = summarize(BY_HAND, ALL, order="mass")
    assert [active.feature for active in by_mass.features] == [4, 5, 2, 7]
    few = summarize(BY_HAND, ALL, least=3.0, top=2)
    assert [active.feature for active in few.features] == [4, 2]
    assert (few.n_active, few.mass) == (4, by_mass.mass)
    assert sum(active.share for active in by_mass.features) == pytest.approx(1)


def test_groups_are_those_of_the_features_active_here() -> None:
    directions = np.eye(2, dtype=np.float32)[Peaks(BY_HAND).features % 2]
    groups = groups_here(BY_HAND, ALL, directions, threshold=0.3)
    assert [group.features.tolist() for group in groups] == [[4, 2], [5, 7]]
    assert groups[0].share == pytest.approx(25 / 43)


@given(st.integers(0, 10**6), st.integers(0, 4))
def test_the_code_of_one_token_is_what_is_active_there(seed: int, token: int) -> None:
    layer = random_layer(seed)
    here = summarize(layer, parse_selection("cls" if token == 0 else str(token), 5))
    row = zip(layer.features[token].tolist(), layer.values[token].tolist(), strict=True)
    firing = sorted(((-value, feature) for feature, value in row if value > 0))
    assert [(active.feature, active.activation) for active in here.features] == [(f, -v) for v, f in firing]
