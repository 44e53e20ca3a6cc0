"""Sparse autoencoders: activations in, codes (the few features that fire, and how strongly) out.

One form for every library's SAE: input normalisation (`scopeview.sae.normalization`), encoder, which of the
pre-activations are kept (`scopeview.sae.forms`), decoder. Whatever else a library has is folded into the
weights by the module that reads its files. Does not know where weights come from (`scopeview.importers`), how
mean and std are estimated (`scopeview.sae.calibration`) or which model made the activations. All arithmetic
is fp32; bf16 and fp16 activations are upcast.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from scopeview.errors import CheckpointError
from scopeview.sae.forms import MEASURED, Architecture, Normalization
from scopeview.sae.normalization import Standardization, denormalize, difference_in_raw_units, normalize
from scopeview.slots import Layer

MAX_ACTIVE = 4096
"""A ReLU or JumpReLU SAE keeps at most this many features of a token, the strongest ones."""

# A dense (tokens x features) block never takes more than this; 1,024 tokens of a 65,536-feature SAE.
MAX_DENSE_BYTES = 256 * 1024**2


class Codes(NamedTuple):
    """The kept features of a batch, in descending order of value; equal values by ascending feature.

    An SAE with a k has k columns, and a kept value can be negative (unless it applies a ReLU afterwards).
    A ReLU or JumpReLU SAE has as many columns as the batch's busiest row has active features, at most
    `MAX_ACTIVE`; shorter rows are filled with distinct inactive features of value 0.
    """

    features: Int[Tensor, "batch k"]
    values: Float[Tensor, "batch k"]


class Weights(NamedTuple):
    """pre = (x - pre_b) @ enc + enc_b; reconstruction = latent @ dec + pre_b. All fp32 on one device.

    A JumpReLU SAE has a `threshold`: a feature fires where pre is above it and above 0. For a library that
    compares by >=, it is the next lower fp32 number.
    """

    pre_b: Float[Tensor, "d_in"]
    enc: Float[Tensor, "d_in n_features"]
    dec: Float[Tensor, "n_features d_in"]
    enc_b: Float[Tensor, "n_features"] | None = None
    threshold: Float[Tensor, "n_features"] | None = None


class Reconstruction(NamedTuple):
    """`x` is the input as the SAE saw it (normalised) and `x_hat` its reconstruction, in the same space."""

    codes: Codes
    x: Float[Tensor, "batch d_in"]
    x_hat: Float[Tensor, "batch d_in"]


@dataclass(frozen=True)
class SaeConfig:
    """An SAE's architecture and source file: everything except the weights.

    `k` is None for a ReLU or JumpReLU SAE. `source` is the file's name within its suite
    (`22_resid/1200013184.pt`); `sha256` is the digest of that file. `relu_after_topk` zeroes negative kept
    values (SAELens does, CLIP-Scope does not). `subtract_pre_b` subtracts the decoder's bias from the input
    first (SAELens calls it apply_b_dec_to_input). `soft_cap` makes kept values z cap * tanh(z / cap) (MSAE).
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
    soft_cap: float | None = None

    @property
    def max_active(self) -> int | None:
        """How many features of a token are kept at most; None if always `k` are."""
        return min(MAX_ACTIVE, self.n_features) if self.k is None else None


class Sae(torch.nn.Module):
    """One sparse autoencoder, for inference. Takes raw activations and normalises them itself."""

    pre_b: Tensor
    enc: Tensor
    dec: Tensor
    enc_b: Tensor | None
    threshold: Tensor | None

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
        return self.with_normalization("standardize", stats)

    def without_standardization(self) -> "Sae":
        """An SAE on the same weights (not copied) that takes raw activations."""
        return self.with_normalization("none")

    def with_normalization(self, kind: Normalization, stats: Standardization | None = None) -> "Sae":
        """An SAE on the same weights (not copied) with another input normalisation; some need `stats`."""
        config = replace(self.config, normalization=kind)
        if stats is None:
            return Sae(config, self._weights())
        if stats.mean.shape != (self.config.d_in,) or stats.std.shape != (self.config.d_in,):
            raise CheckpointError(
                f"mean and std of shapes {tuple(stats.mean.shape)} and {tuple(stats.std.shape)} do not fit "
                f"{self.config.source}, which takes {self.config.d_in} dimensions"
            )
        return Sae(config, self._weights(), stats.to(self.pre_b.device))

    def normalize(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """Converts to the SAE's own input space. Raises `CheckpointError` if mean and std are missing."""
        kind = self.config.normalization
        if kind in MEASURED and self._standardization is None:
            raise CheckpointError(
                f"{self.config.source} was trained on standardised activations but holds no mean and std: "
                "run `scopeview calibrate`, or choose `--normalization none`"
            )
        return normalize(kind, x.float(), self._stats_on(x.device))

    def denormalize(
        self, x_hat: Float[Tensor, "batch d_in"], x: Float[Tensor, "batch d_in"]
    ) -> Float[Tensor, "batch d_in"]:
        """Converts reconstructions of the raw tokens `x` from the SAE's input space to raw activations."""
        return denormalize(self.config.normalization, x_hat, x.float(), self._stats_on(x_hat.device))

    def in_raw_units(
        self, difference: Float[Tensor, "batch d_in"], x: Float[Tensor, "batch d_in"]
    ) -> Float[Tensor, "batch d_in"]:
        """Converts a difference of two points from the SAE's own input space to raw activations.

        `x` are the raw tokens that the difference belongs to: some normalisations depend on the token.
        """
        kind = self.config.normalization
        return difference_in_raw_units(kind, difference, x.float(), self._stats_on(difference.device))

    def _stats_on(self, device: torch.device) -> Standardization | None:
        return None if self._standardization is None else self._standardization.to(device)

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
        if self.config.k is None:
            return self._encode_active(blocks)
        return _concatenate([self._kept_codes(block, self.config.k) for block in blocks])

    def _preactivations(self, normalized: Tensor) -> Tensor:
        pre = (normalized - self.pre_b if self.config.subtract_pre_b else normalized) @ self.enc
        return pre if self.enc_b is None else pre.add_(self.enc_b)

    def activate(self, values: Float[Tensor, "batch kept"]) -> Float[Tensor, "batch kept"]:
        """What becomes of kept pre-activations: ReLU and soft cap, where the SAE has them."""
        if self.config.relu_after_topk:
            values = values.clamp_min(0)
        cap = self.config.soft_cap
        return values if cap is None else cap * torch.tanh(values / cap)

    def _kept_codes(self, block: Tensor, k: int) -> Codes:
        """The codes of an SAE that always keeps k features."""
        pre = self._preactivations(block)
        if self.config.architecture == "abstopk":
            features = exact_topk(pre.abs(), k).features
            values = pre.gather(1, features)
        elif self.config.architecture == "groupmax":
            features, values = _largest_of_groups(pre, k)
        else:
            features, values = exact_topk(pre, k)
        return in_order(Codes(features, self.activate(values)))

    def _encode_active(self, blocks: tuple[Tensor, ...]) -> Codes:
        codes = [self._active_codes(block) for block in blocks]
        widest = max(part.values.shape[1] for part in codes)
        # Blocks differ in how many features fire; the narrower ones are made once more at full width.
        return _concatenate(
            [
                part if part.values.shape[1] == widest else self._active_codes(block, widest)
                for part, block in zip(codes, blocks, strict=True)
            ]
        )

    def _active_codes(self, block: Tensor, n_columns: int = 0) -> Codes:
        """The codes of a ReLU or JumpReLU SAE, with at least `n_columns` columns."""
        pre = self._preactivations(block)
        active = pre > (0 if self.threshold is None else self.threshold.clamp_min(0))
        if pre.numel():
            n_columns = max(n_columns, int(active.sum(dim=1).max()))
        # Inactive features rank below all active ones and by ascending number, so that padding is determined.
        rank = -torch.arange(1, pre.shape[1] + 1, device=pre.device, dtype=pre.dtype)
        ranked = torch.where(active, pre, rank)
        if n_columns > MAX_ACTIVE:
            features, values = exact_topk(ranked, MAX_ACTIVE)
        else:
            values, features = torch.topk(ranked, n_columns, dim=1)
        return in_order(Codes(features, self.activate(values.clamp_min(0))))

    def _weights(self) -> Weights:
        return Weights(self.pre_b, self.enc, self.dec, self.enc_b, self.threshold)


def _largest_of_groups(pre: Float[Tensor, "batch n_features"], n_groups: int) -> Codes:
    """The largest value of each group of neighbouring features, in the order of groups."""
    group_size = pre.shape[1] // n_groups
    values, within = pre.view(len(pre), n_groups, group_size).max(dim=2)
    return Codes(within + group_size * torch.arange(n_groups, device=pre.device), values)


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
