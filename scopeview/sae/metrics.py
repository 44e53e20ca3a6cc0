"""Reconstruction metrics of an SAE, each with one definition. Knows tensors, not where they come from.

`x` is the SAE's input (after its input normalisation) and `x_hat` its reconstruction, one row per token.
Every function returns the mean over tokens, computed in float64; those named `each_` return one value per
token.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Tokens = Float[Tensor, "batch d_in"]


def mse(x: Tokens, x_hat: Tokens) -> float:
    """Squared error, summed over dimensions, mean over tokens: CLIP-Scope's published MSE."""
    return _mean(_squared_error(x, x_hat))


def explained_variance(x: Tokens, x_hat: Tokens) -> float:
    """One minus squared error over the variance *across the dimensions of one token*, as in CLIP-Scope."""
    return _mean(each_explained_variance(x, x_hat))


def fvu(x: Tokens, x_hat: Tokens) -> float:
    """Fraction of variance unexplained: total squared error over total variance around the mean token."""
    x = x.double()
    return float(_squared_error(x, x_hat).sum() / (x - x.mean(dim=0)).pow(2).sum())


def normalized_mae(x: Tokens, x_hat: Tokens) -> float:
    """The absolute error of a token divided by the sum of its absolute values."""
    x = x.double()
    return _mean((x - x_hat.double()).abs().sum(dim=-1) / x.abs().sum(dim=-1))


def cosine(x: Tokens, x_hat: Tokens) -> float:
    """Cosine similarity of a token and its reconstruction."""
    return _mean(torch.nn.functional.cosine_similarity(x.double(), x_hat.double(), dim=-1))


def l0(values: Float[Tensor, "batch k"]) -> float:
    """Active features per token. Active means above zero: a negative kept value is not active."""
    return _mean((values > 0).sum(dim=-1))


def each_mse(x: Tokens, x_hat: Tokens) -> Float[Tensor, "batch"]:
    """`mse` of each token."""
    return _squared_error(x, x_hat)


def each_explained_variance(x: Tokens, x_hat: Tokens) -> Float[Tensor, "batch"]:
    """`explained_variance` of each token; NaN or minus infinity if its dimensions are all equal."""
    x = x.double()
    variance = (x - x.mean(dim=-1, keepdim=True)).pow(2).sum(dim=-1)
    return 1 - _squared_error(x, x_hat) / variance


def tokenwise_mse(
    x: Float[Tensor, "batch token d_in"], x_hat: Float[Tensor, "batch token d_in"]
) -> Float[Tensor, "token"]:
    """`mse` at each position: index 0 is CLS, 1 to 256 the 16 x 16 grid row by row."""
    return _squared_error(x, x_hat).mean(dim=0).float()


def _squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    return (x.double() - x_hat.double()).pow(2).sum(dim=-1)


def _mean(per_token: Tensor) -> float:
    return float(per_token.double().mean())
