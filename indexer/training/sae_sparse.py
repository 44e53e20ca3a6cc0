"""Products with sparse codes that never hold a dense (tokens x features) or (tokens x k x d_in) block.

A code is k (feature, value) pairs a token; `table` has one row a feature. All three are `embedding_bag` seen
from different sides, and all three give the same bits on every run (no atomic additions), which a resumed run
relies on. Knows nothing of SAEs.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def decode(
    features: Int[Tensor, "token k"], values: Float[Tensor, "token k"], table: Float[Tensor, "feature d_in"]
) -> Float[Tensor, "token d_in"]:
    """For each token the sum of its features' rows, weighted by their values."""
    return functional.embedding_bag(features, table, per_sample_weights=values, mode="sum")


def products(
    features: Int[Tensor, "token k"], rows: Float[Tensor, "token d_in"], table: Float[Tensor, "feature d_in"]
) -> Float[Tensor, "token k"]:
    """For each pair the product of the token's row and the feature's: the gradient of `decode` by value."""
    with torch.enable_grad():
        values = rows.new_zeros(features.shape).requires_grad_()
        (gradient,) = torch.autograd.grad(decode(features, values, table.detach()), values, rows)
    return gradient


class ByFeature(NamedTuple):
    """The pairs of `features` in order of feature, so that a feature's tokens lie together."""

    order: Int[Tensor, "pair"]
    tokens: Int[Tensor, "pair"]
    starts: Int[Tensor, "feature"]

    @classmethod
    def of(cls, features: Int[Tensor, "token k"], n_features: int) -> "ByFeature":
        ordered, order = features.flatten().sort(stable=True)
        starts = torch.searchsorted(ordered, torch.arange(n_features, device=features.device))
        return cls(order, order // features.shape[1], starts)

    def collect(
        self, values: Float[Tensor, "token k"], rows: Float[Tensor, "token d_in"]
    ) -> Float[Tensor, "feature d_in"]:
        """For each feature the sum of its tokens' rows, weighted: the gradient of `decode` by table."""
        weights = values.flatten()[self.order]
        return functional.embedding_bag(
            self.tokens, rows, self.starts, per_sample_weights=weights, mode="sum"
        )
