"""Small settings and data for tests of the SAE trainer."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from indexer.training.sae_config import SaeSettings

SETTINGS = SaeSettings(
    layer=1,
    d_in=12,
    n_features=24,
    architecture="topk",
    k=3,
    l1=0.0,
    dead_after=10**9,
    aux_k=6,
    aux_weight=1 / 32,
)


def settings(**changes: Any) -> SaeSettings:
    return replace(SETTINGS, **changes)


def relu_settings(l1: float) -> SaeSettings:
    return settings(architecture="relu", k=None, l1=l1)


def sparse_mixtures(n_tokens: int, seed: int = 0, *, d_in: int = 12, n_parts: int = 20) -> Tensor:
    """Tokens that are sums of 2 of `n_parts` directions: what a sparse autoencoder is made to find."""
    random = torch.Generator().manual_seed(seed)
    parts = normalize(torch.randn(n_parts, d_in, generator=torch.Generator().manual_seed(77)), dim=1)
    chosen = torch.rand(n_tokens, n_parts, generator=random).topk(2, dim=1).indices
    weights = 1 + torch.rand(n_tokens, 2, generator=random)
    return (parts[chosen] * weights[:, :, None]).sum(dim=1)
