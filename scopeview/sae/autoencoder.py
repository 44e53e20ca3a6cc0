"""Sparse autoencoders: activations in, codes (the few features that fire, and how strongly) out.

Knows the arithmetic of TopK and ReLU autoencoders and of the input normalisation. Does not know where weights
come from (`scopeview.importers`), how mean and std are estimated (`scopeview.sae.calibration`) or which model
made the activations. All arithmetic is fp32; bf16 and fp16 activations are upcast.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from scopeview.errors import CheckpointError
from scopeview.slots import Layer

Architecture = Literal["topk", "relu"]
Normalization = Literal["none", "standardize"]

# A dense (tokens x features) block never takes more than this; 1,024 tokens of a 65,536-feature SAE.
MAX_DENSE_BYTES = 256 * 1024**2


class Codes(NamedTuple):
    """The kept features of a batch, in descending order of value; equal values by ascending feature.

    A TopK SAE has its k columns, and a kept value can be negative (unless it applies a ReLU afterwards).
    A ReLU SAE has as many columns as the batch's busiest row has active features; shorter rows are filled
    with distinct inactive features of value 0.
    """

    features: Int[Tensor, "batch k"]
    values: Float[Tensor, "batch k"]


class Weights(NamedTuple):
    """pre = (x - pre_b) @ enc + enc_b; reconstruction = latent @ dec + pre_b. All fp32 on one device."""

    pre_b: Float[Tensor, "d_in"]
    enc: Float[Tensor, "d_in n_features"]
    dec: Float[Tensor, "n_features d_in"]
    enc_b: Float[Tensor, "n_features"] | None = None


class Reconstruction(NamedTuple):
    """`x` is the input as the SAE saw it (normalised) and `x_hat` its reconstruction, in the same space."""

    codes: Codes
    x: Float[Tensor, "batch d_in"]
    x_hat: Float[Tensor, "batch d_in"]


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


@dataclass(frozen=True)
class SaeConfig:
    """An SAE's architecture and source file: everything except the weights.

    `k` is None for a ReLU SAE. `source` is the file's name within its suite (`22_resid/1200013184.pt`);
    `sha256` is the digest of that file. `relu_after_topk` zeroes negative kept values (SAELens does,
    CLIP-Scope does not). `subtract_pre_b` subtracts the decoder's bias from the input first (SAELens calls it
    apply_b_dec_to_input).
    """

    architecture: Architecture
    layer: Layer
    d_in: int
    n_features: int
    k: int | None
    normalization: Normalization
    source: str
    sha256: str
    relu_after_topk: bool = False
    subtract_pre_b: bool = True


class Sae(torch.nn.Module):
    """One sparse autoencoder, for inference. Takes raw activations and normalises them itself."""

    pre_b: Tensor
    enc: Tensor
    dec: Tensor
    enc_b: Tensor | None

    def __init__(
        self, config: SaeConfig, weights: Weights, standardization: Standardization | None = None
    ) -> None:
        super().__init__()
        self.config = config
        for name, tensor in weights._asdict().items():
            self.register_buffer(name, tensor)
        self._standardization = standardization

    @property
    def standardization(self) -> Standardization | None:
        """The mean and std in use; None if the SAE takes raw activations or its mean and std are missing."""
        return self._standardization

    @property
    def decoder_norms(self) -> Float[Tensor, "n_features"]:
        """The length of each decoder row; multiplied by an activation it gives the activation's mass."""
        norms: Tensor = torch.linalg.vector_norm(self.dec, dim=1)
        return norms

    def with_standardization(self, stats: Standardization) -> "Sae":
        """An SAE on the same weights (not copied) that standardises its input by `stats`."""
        if stats.mean.shape != (self.config.d_in,) or stats.std.shape != (self.config.d_in,):
            raise CheckpointError(
                f"mean and std of shapes {tuple(stats.mean.shape)} and {tuple(stats.std.shape)} do not fit "
                f"{self.config.source}, which takes {self.config.d_in} dimensions"
            )
        config = replace(self.config, normalization="standardize")
        return Sae(config, self._weights(), stats.to(self.pre_b.device))

    def without_standardization(self) -> "Sae":
        """An SAE on the same weights (not copied) that takes raw activations."""
        return Sae(replace(self.config, normalization="none"), self._weights())

    def normalize(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Converts to the SAE's own input space. Raises `CheckpointError` if mean and std are missing."""
        x = x.float()
        if self.config.normalization == "none":
            return x
        if self._standardization is None:
            raise CheckpointError(
                f"{self.config.source} was trained on standardised activations but holds no mean and std: "
                "run `scopeview calibrate`, or choose `--normalization none`"
            )
        return self._standardization.to(x.device).apply(x)

    def in_raw_units(self, difference: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Converts a difference of two points from the SAE's own input space to raw activations."""
        if self._standardization is None or self.config.normalization == "none":
            return difference
        stats = self._standardization.to(difference.device)
        return difference * (stats.std + stats.eps)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch d_in"]) -> Codes:
        """Raw activations -> codes; takes any batch size, in blocks of at most `MAX_DENSE_BYTES`."""
        return self._encode(self.normalize(x))

    @torch.no_grad()
    def decode(self, codes: Codes) -> Float[Tensor, "batch d_in"]:
        """The reconstruction in the SAE's own (normalised) input space."""
        summed = functional.embedding_bag(
            codes.features, self.dec, per_sample_weights=codes.values, mode="sum"
        )
        return summed + self.pre_b

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Reconstruction:
        normalized = self.normalize(x)
        codes = self._encode(normalized)
        return Reconstruction(codes, normalized, self.decode(codes))

    @torch.no_grad()
    def _encode(self, normalized: Tensor) -> Codes:
        block_rows = max(1, MAX_DENSE_BYTES // (4 * self.config.n_features))
        blocks = torch.split(normalized, block_rows)
        if self.config.architecture == "relu":
            return self._encode_relu(blocks)
        return _concatenate([self._topk_codes(block) for block in blocks])

    def _preactivations(self, normalized: Tensor) -> Tensor:
        pre = (normalized - self.pre_b if self.config.subtract_pre_b else normalized) @ self.enc
        return pre if self.enc_b is None else pre.add_(self.enc_b)

    def _topk_codes(self, block: Tensor) -> Codes:
        assert self.config.k is not None
        features, values = exact_topk(self._preactivations(block), self.config.k)
        if self.config.relu_after_topk:
            values = values.clamp_min(0)
        return in_order(Codes(features, values))

    def _encode_relu(self, blocks: tuple[Tensor, ...]) -> Codes:
        codes = [self._relu_codes(block) for block in blocks]
        widest = max(part.values.shape[1] for part in codes)
        # Blocks differ in how many features fire; the narrower ones are made once more at full width.
        return _concatenate(
            [
                part if part.values.shape[1] == widest else self._relu_codes(block, widest)
                for part, block in zip(codes, blocks, strict=True)
            ]
        )

    def _relu_codes(self, block: Tensor, n_columns: int = 0) -> Codes:
        pre = self._preactivations(block)
        if pre.numel():
            n_columns = max(n_columns, int((pre > 0).sum(dim=1).max()))
        # Inactive features rank below all active ones and by ascending number, so that padding is determined.
        rank = -torch.arange(1, pre.shape[1] + 1, device=pre.device, dtype=pre.dtype)
        values, features = torch.topk(torch.where(pre > 0, pre, rank), n_columns, dim=1)
        return in_order(Codes(features, values.clamp_min(0)))

    def _weights(self) -> Weights:
        return Weights(self.pre_b, self.enc, self.dec, self.enc_b)


def exact_topk(pre: Float[Tensor, "batch n_features"], k: int) -> Codes:
    """The k largest values of each row; of equal values at the boundary the lower features are kept.

    `torch.topk` does not specify which of several equal values it keeps. Rows whose k-th and k+1-th values
    are equal (rare: duplicate features) are therefore sorted in full; the others cost one extra column.
    """
    top = torch.topk(pre, min(k + 1, pre.shape[1]), dim=1)
    values, features = top.values[:, :k], top.indices[:, :k]
    if top.values.shape[1] > k:
        tied = (top.values[:, k - 1] == top.values[:, k]).nonzero().squeeze(1)
        if len(tied):
            ordered = pre[tied].sort(dim=1, descending=True, stable=True)
            values, features = values.clone(), features.clone()
            values[tied], features[tied] = ordered.values[:, :k], ordered.indices[:, :k]
    return Codes(features, values)


def in_order(codes: Codes) -> Codes:
    """Sorts each row by descending value, equal values by ascending feature."""
    features, order = codes.features.sort(dim=1)
    values, by_value = codes.values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return Codes(features.gather(1, by_value), values)


def _concatenate(parts: list[Codes]) -> Codes:
    if len(parts) == 1:
        return parts[0]
    return Codes(torch.cat([p.features for p in parts]), torch.cat([p.values for p in parts]))
