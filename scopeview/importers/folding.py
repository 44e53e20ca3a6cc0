"""What libraries compute beyond Scopeview's one form of an SAE, folded into the weights."""

import torch
from jaxtyping import Float
from torch import Tensor

from scopeview.sae.autoencoder import Weights


def gated(
    pre_b: Float[Tensor, "d_in"],
    enc: Float[Tensor, "d_in n_features"],
    dec: Float[Tensor, "n_features d_in"],
    *,
    gate_b: Float[Tensor, "n_features"],
    r_mag: Float[Tensor, "n_features"],
    mag_b: Float[Tensor, "n_features"],
) -> Weights:
    """A gated SAE as a JumpReLU one, which it is: both paths read the same directions.

    `1[a + gate_b > 0] * relu(exp(r_mag) * a + mag_b)` with a = (x - pre_b) @ enc: the gate opens where the
    second path's value exceeds mag_b - exp(r_mag) * gate_b (Rajamanoharan et al. 2024, arXiv 2404.16014).
    """
    scale = r_mag.exp()
    return Weights(pre_b, enc * scale, dec, mag_b, mag_b - scale * gate_b)


def inclusive(threshold: Float[Tensor, "n_features"]) -> Float[Tensor, "n_features"]:
    """The threshold for `>` that keeps what a library keeps by `>=`: the next lower number in fp32."""
    return torch.nextafter(threshold, torch.tensor(-torch.inf))
