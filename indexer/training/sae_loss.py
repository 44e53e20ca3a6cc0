"""The losses of the two architectures, with their gradients.

All are means over tokens, divided by d_in, so that on standardised input predicting the mean has the loss 1:

    TopK    |x - x_hat|^2 / d_in
    ReLU    (|x - x_hat|^2 + l1 * sum of activations) / d_in
    AuxK    |(x - x_hat) - e_hat|^2 / d_in, where e_hat is what the aux_k strongest *dead* features would add

Each function adds its gradients to `.grad`. Knows no optimiser and no data. Sources: Gao et al. (2024),
"Scaling and evaluating sparse autoencoders" (TopK, AuxK); Bricken et al. (2023) (ReLU + L1).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from indexer.training.sae_model import TrainedSae

MAX_DENSE_BYTES = {"cpu": 8 * 1024**2, "cuda": 512 * 1024**2}
"""The size limit of a dense (tokens x features) block in fp32; on a CPU, small blocks stay in the cache."""
MIN_BLOCK_TOKENS = 256
"""Smaller blocks of tokens would read the weights too often."""


class Outcome(NamedTuple):
    """The result of a batch, apart from its gradients."""

    loss: Float[Tensor, ""]
    l0: Float[Tensor, ""]
    x_hat: Float[Tensor, "token d_in"]
    fired: Bool[Tensor, "feature"]


@torch.no_grad()
def topk_gradients(
    sae: TrainedSae, x: Float[Tensor, "token d_in"], k: int, *, low_precision: bool = False
) -> Outcome:
    """Adds the gradients, computed by hand: autograd would hold a dense (tokens x features) gradient.

    In low precision the features are chosen by bf16 products; their values are fp32 all the same.
    """
    centred = x - sae.pre_b
    features, values = _select(sae, centred, k, low_precision)
    x_hat = decode(features, values, sae.dec) + sae.pre_b
    error = x_hat - x
    d_error = error * (2 / x.numel())
    d_values = products(features, d_error, sae.dec)
    by_feature = ByFeature.of(features, len(sae.dec))
    _add(sae.dec, by_feature.collect(values, d_error))
    _add(sae.enc, by_feature.collect(d_values, centred))
    d_centred = decode(features, d_values, sae.enc)
    _add(sae.pre_b, (d_error - d_centred).sum(dim=0))
    active = values > 0
    return Outcome(
        error.pow(2).mean(), active.sum(dim=1).float().mean(), x_hat, _fired(features, active, len(sae.dec))
    )


def relu_gradients(
    sae: TrainedSae, x: Float[Tensor, "token d_in"], l1: float, *, low_precision: bool = False
) -> Outcome:
    """Adds the dense gradients, since early on most features fire; works in blocks of tokens."""
    assert sae.enc_b is not None
    loss, n_active = x.new_zeros(()), x.new_zeros(())
    fired = torch.zeros(len(sae.dec), dtype=torch.bool, device=x.device)
    rebuilt = []
    for block in _blocks(x, len(sae.dec)):
        with _autocast(block, low_precision):
            latents = torch.relu((block - sae.pre_b) @ sae.enc.T + sae.enc_b)
            x_hat = (latents @ sae.dec).float() + sae.pre_b
        squares = (x_hat - block).pow(2).sum()
        part = (squares + l1 * latents.float().sum()) / x.numel()
        part.backward()  # type: ignore[no-untyped-call]
        active = latents.detach() > 0
        loss, n_active, fired = loss + part.detach(), n_active + active.sum(), fired | active.any(dim=0)
        rebuilt.append(x_hat.detach())
    return Outcome(loss, n_active / len(x), torch.cat(rebuilt), fired)


def aux_gradients(
    sae: TrainedSae,
    x: Float[Tensor, "token d_in"],
    error: Float[Tensor, "token d_in"],
    dead: Int[Tensor, "dead"],
    *,
    aux_k: int,
    weight: float,
    low_precision: bool = False,
) -> Float[Tensor, ""]:
    """Trains dead features on what the live ones miss: `error` is x - x_hat. Returns the unweighted loss.

    If fewer than `aux_k` are dead, all of them take part. Dense over the dead features only, in blocks of
    tokens; no other weight gets a gradient.
    """
    n_kept = min(aux_k, len(dead))
    enc, dec = (table.detach()[dead].requires_grad_() for table in (sae.enc, sae.dec))
    enc_b = None if sae.enc_b is None else sae.enc_b.detach()[dead].requires_grad_()
    loss = x.new_zeros(())
    missed = _blocks(error.detach(), len(dead))
    for block, target in zip(_blocks(x - sae.pre_b.detach(), len(dead)), missed, strict=True):
        with _autocast(block, low_precision):
            pre = block @ enc.T if enc_b is None else block @ enc.T + enc_b
            kept = pre.topk(n_kept, dim=1)
            e_hat = torch.zeros_like(pre).scatter(1, kept.indices, kept.values) @ dec
        part = (e_hat.float() - target).pow(2).sum() / x.numel()
        (weight * part).backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
    for table, found in ((sae.enc, enc), (sae.dec, dec), (sae.enc_b, enc_b)):
        if table is not None and found is not None and found.grad is not None:
            _gradient(table).index_add_(0, dead, found.grad)
    return loss


def _select(sae: TrainedSae, centred: Tensor, k: int, low_precision: bool) -> tuple[Tensor, Tensor]:
    """The k strongest features of each token and their values, unordered."""
    found = []
    for block in _blocks(centred, len(sae.enc)):
        with _autocast(block, low_precision):
            found.append((block @ sae.enc.T).topk(k, dim=1, sorted=False))
    features = torch.cat([top.indices for top in found])
    if low_precision:
        return features, products(features, centred, sae.enc)
    return features, torch.cat([top.values for top in found])


def _blocks(x: Tensor, n_features: int) -> Iterator[Tensor]:
    limit = MAX_DENSE_BYTES["cuda" if x.is_cuda else "cpu"]
    yield from torch.split(x, max(MIN_BLOCK_TOKENS, limit // (4 * n_features)))


def _autocast(x: Tensor, low_precision: bool) -> AbstractContextManager[object]:
    return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=low_precision)


def _fired(features: Tensor, active: Tensor, n_features: int) -> Tensor:
    counts = torch.zeros(n_features + 1, dtype=torch.bool, device=features.device)
    counts[torch.where(active, features, n_features).flatten()] = True
    return counts[:n_features]


def _add(parameter: torch.nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def decode(
    features: Int[Tensor, "token k"], values: Float[Tensor, "token k"], table: Float[Tensor, "feature d_in"]
) -> Float[Tensor, "token d_in"]:
    """The sum of each token's features' rows, weighted by their values."""
    return functional.embedding_bag(features, table, per_sample_weights=values, mode="sum")


def products(
    features: Int[Tensor, "token k"], rows: Float[Tensor, "token d_in"], table: Float[Tensor, "feature d_in"]
) -> Float[Tensor, "token k"]:
    """The product of token row and feature row, for each pair: the gradient of `decode` by value."""
    with torch.enable_grad():
        values = rows.new_zeros(features.shape).requires_grad_()
        (gradient,) = torch.autograd.grad(decode(features, values, table.detach()), values, rows)
    return gradient


class ByFeature(NamedTuple):
    """The pairs of `features` sorted by feature, so that a feature's tokens are contiguous."""

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
        """The weighted sum of each feature's tokens' rows: the gradient of `decode` by table."""
        weights = values.flatten()[self.order]
        return functional.embedding_bag(
            self.tokens, rows, self.starts, per_sample_weights=weights, mode="sum"
        )
