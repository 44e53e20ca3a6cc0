"""The figures, against answers worked out by hand and a NumPy twin in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scopeview.sae import metrics

X = torch.tensor([[1.0, 3.0], [2.0, -2.0]])
X_HAT = torch.tensor([[1.0, 2.0], [0.0, -2.0]])


def test_mse_sums_dimensions_and_averages_tokens() -> None:
    assert metrics.mse(X, X_HAT) == (1 + 4) / 2


def test_explained_variance_is_relative_to_the_spread_within_a_token() -> None:
    # Variances across dimensions: (1, 3) -> 1 + 1 = 2; (2, -2) -> 4 + 4 = 8.
    assert metrics.explained_variance(X, X_HAT) == ((1 - 1 / 2) + (1 - 4 / 8)) / 2


def test_fvu_is_relative_to_the_spread_around_the_mean_token() -> None:
    # The mean token is (1.5, 0.5): 0.25 + 6.25 + 0.25 + 6.25 = 13.
    assert metrics.fvu(X, X_HAT) == pytest.approx(5 / 13)


def test_normalized_mae_is_relative_to_a_tokens_absolute_values() -> None:
    assert metrics.normalized_mae(X, X_HAT) == (1 / 4 + 2 / 4) / 2


def test_cosine_is_that_of_the_two_vectors() -> None:
    first = (1 * 1 + 3 * 2) / (10**0.5 * 5**0.5)
    second = 4 / (8**0.5 * 2)
    assert metrics.cosine(X, X_HAT) == pytest.approx((first + second) / 2)


def test_l0_counts_positive_values_alone() -> None:
    assert metrics.l0(torch.tensor([[3.0, 0.0, -1.0], [2.0, 1.0, 0.0]])) == 1.5


def test_tokenwise_mse_keeps_the_positions_apart() -> None:
    x, x_hat = torch.stack([X, X + 1]), torch.stack([X_HAT, X + 1])
    assert metrics.tokenwise_mse(x, x_hat).tolist() == [0.5, 2.0]


def test_a_perfect_reconstruction_is_perfect_in_every_figure() -> None:
    assert metrics.mse(X, X) == metrics.fvu(X, X) == metrics.normalized_mae(X, X) == 0
    assert metrics.explained_variance(X, X) == 1
    assert metrics.cosine(X, X) == pytest.approx(1)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n_tokens=st.integers(2, 20), d_in=st.integers(2, 30))
def test_all_figures_equal_their_twin(seed: int, n_tokens: int, d_in: int) -> None:
    random = np.random.default_rng(seed)
    x, x_hat = (random.normal(2, 3, (n_tokens, d_in)).astype(np.float32) for _ in range(2))
    wide, wide_hat = x.astype(np.float64), x_hat.astype(np.float64)
    squared = ((wide - wide_hat) ** 2).sum(1)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wide_hat, axis=1)
    expected = {
        metrics.mse: squared.mean(),
        metrics.explained_variance: (1 - squared / (wide.var(1) * d_in)).mean(),
        metrics.fvu: squared.sum() / (wide.var(0).sum() * n_tokens),
        metrics.normalized_mae: (np.abs(wide - wide_hat).sum(1) / np.abs(wide).sum(1)).mean(),
        metrics.cosine: ((wide * wide_hat).sum(1) / lengths).mean(),
    }
    for figure, value in expected.items():
        assert figure(torch.from_numpy(x), torch.from_numpy(x_hat)) == pytest.approx(value, rel=1e-9)
