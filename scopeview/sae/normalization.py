"""Input normalisation: raw activations to the SAE's own input space, and differences back.

none           x
standardize    (x - mean) / (std + eps), per dimension over many tokens: CLIP-Scope
center_scale   the same with one std for all dimensions: MSAE, VISAEBench, saev before version 2
layer_norm     (x - mean(x)) / (std(x) + 1e-5), per token, std with n - 1: SAELens, Prisma
constant_norm  x * sqrt(d) / norm(x), per token: SAELens, Prisma ("constant_norm_rescale")

SAELens and Prisma undo the last two on the output without the epsilon, and so does this. Knows no weights.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scopeview.sae.forms import MEASURED, Normalization

LAYER_NORM_EPS = 1e-5
_TINY = torch.finfo(torch.float32).tiny  # a token of zeros stays one


@dataclass(frozen=True)
class Standardization:
    """Input normalisation `(x - mean) / (std + eps)` per dimension; std is the unbiased one (n - 1)."""

    mean: Float[Tensor, "d_in"]
    std: Float[Tensor, "d_in"]
    n_tokens: int
    eps: float = 1e-6

    def apply(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        return (x - self.mean) / (self.std + self.eps)

    def to(self, device: str | torch.device) -> "Standardization":
        """The same statistics in fp32 on another device."""
        mean, std = (t.to(device=device, dtype=torch.float32) for t in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    def fitted_to(self, kind: Normalization) -> "Standardization":
        """The statistics that `kind` uses: for `center_scale`, the root mean square of the std everywhere."""
        if kind != "center_scale":
            return self
        pooled = self.std.double().pow(2).mean().sqrt().float()
        return replace(self, std=pooled.expand_as(self.std).clone())


def normalize(
    kind: Normalization, x: Float[Tensor, "batch d_in"], stats: Standardization | None
) -> Float[Tensor, "batch d_in"]:
    """Raw activations in the SAE's own input space; `stats` are on x's device."""
    if kind in MEASURED:
        assert stats is not None
        return stats.apply(x)
    if kind == "layer_norm":
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / (centred.std(dim=-1, keepdim=True) + LAYER_NORM_EPS)
    return x * _to_constant_norm(x) if kind == "constant_norm" else x


def difference_in_raw_units(
    kind: Normalization,
    difference: Float[Tensor, "batch d_in"],
    x: Float[Tensor, "batch d_in"],
    stats: Standardization | None,
) -> Float[Tensor, "batch d_in"]:
    """A difference of two points of the SAE's input space, in raw units.

    `x` are the raw tokens that it belongs to. Where statistics are needed and missing, it is returned as is.
    """
    if kind in MEASURED:
        return difference if stats is None else difference * (stats.std + stats.eps)
    if kind == "layer_norm":
        return difference * (x - x.mean(dim=-1, keepdim=True)).std(dim=-1, keepdim=True)
    return difference / _to_constant_norm(x) if kind == "constant_norm" else difference


def denormalize(
    kind: Normalization,
    x_hat: Float[Tensor, "batch d_in"],
    x: Float[Tensor, "batch d_in"],
    stats: Standardization | None,
) -> Float[Tensor, "batch d_in"]:
    """Points of the SAE's input space, such as a reconstruction, as raw activations."""
    scaled = difference_in_raw_units(kind, x_hat, x, stats)
    if kind == "layer_norm":
        return scaled + x.mean(dim=-1, keepdim=True)
    return scaled + stats.mean if kind in MEASURED and stats is not None else scaled


def _to_constant_norm(x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch 1"]:
    factor: Tensor = x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True).clamp_min(_TINY)
    return factor
