"""Products with sparse codes, against dense twins."""

from typing import NamedTuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from indexer.training import sae_sparse

_SIZES = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))


class _Example(NamedTuple):
    features: Tensor
    values: Tensor
    dense: Tensor
    """The same code, with zeros where nothing was kept."""
    rows: Tensor
    table: Tensor


def _codes(n_tokens: int, n_features: int, d_in: int, seed: int) -> _Example:
    random = torch.Generator().manual_seed(seed)
    dense = torch.randn(n_tokens, n_features, generator=random)
    values, features = dense.topk((n_features + 1) // 2, dim=1)
    kept = torch.zeros_like(dense).scatter(1, features, values)
    rows = torch.randn(n_tokens, d_in, generator=random)
    return _Example(features, values, kept, rows, torch.randn(n_features, d_in, generator=random))


@given(_SIZES)
def test_decoding_is_the_dense_product(sizes: tuple[int, int, int, int]) -> None:
    features, values, kept, _, table = _codes(*sizes)
    torch.testing.assert_close(sae_sparse.decode(features, values, table), kept @ table)


@given(_SIZES)
def test_products_are_the_dense_ones_at_the_features_kept(sizes: tuple[int, int, int, int]) -> None:
    features, _, _, rows, table = _codes(*sizes)
    torch.testing.assert_close(
        sae_sparse.products(features, rows, table), (rows @ table.T).gather(1, features)
    )


@given(_SIZES)
def test_collecting_by_feature_is_the_transposed_product(sizes: tuple[int, int, int, int]) -> None:
    features, values, kept, rows, table = _codes(*sizes)
    by_feature = sae_sparse.ByFeature.of(features, len(table))
    torch.testing.assert_close(by_feature.collect(values, rows), kept.T @ rows)
