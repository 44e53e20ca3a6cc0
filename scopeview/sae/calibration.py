"""The mean and std that standardise an SAE's input, estimated over all tokens of the images being indexed.

CLIP-Scope was trained on activations standardised batch by batch, and its checkpoints do not contain the
statistics. Here they are estimated once, kept in the index, and reused for uploads. The metrics under both
normalisations then show which one is right. Knows activations, not images; callers decode those.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scopeview.errors import IndexFormatError, InputError
from scopeview.sae import metrics
from scopeview.sae.autoencoder import Sae
from scopeview.sae.forms import Normalization
from scopeview.sae.normalization import Standardization
from scopeview.sae.reference_metrics import PublishedMetrics, published_for
from scopeview.slots import EMBED, Layer, parse_layer
from scopeview.store.files import atomic_write
from scopeview.vision.clip import ResidualActivations

SAMPLED_TOKENS_PER_IMAGE = 32
MAX_SAMPLED_IMAGES = 1000


@runtime_checkable
class CalibrationModel(Protocol):
    """The methods that calibration needs of a model; `scopeview.vision.clip.Clip` has them."""

    def forward(
        self, pixels: UInt8[Tensor, "batch 3 height width"], layers: Sequence[int]
    ) -> ResidualActivations: ...


class StreamingMoments:
    """Mean and unbiased std of a stream of tokens, in float64 by Chan, Golub and LeVeque's pairwise update.

    The result is the same up to rounding, however the stream is cut into batches or merged from parts.
    """

    def __init__(self, d_in: int) -> None:
        self.n_tokens = 0
        self._mean = torch.zeros(d_in, dtype=torch.float64)
        self._squares = torch.zeros(d_in, dtype=torch.float64)

    def update(self, x: Float[Tensor, "token d_in"]) -> None:
        """Takes in some tokens, or none."""
        if len(x) == 0:
            return
        wide = (x.cpu() if x.device.type == "mps" else x).double()  # Metal has no float64
        mean = wide.mean(dim=0)
        self._add(len(wide), mean.cpu(), (wide - mean).pow(2).sum(dim=0).cpu())

    def merge(self, other: "StreamingMoments") -> None:
        """Takes in all tokens that `other` has seen."""
        if other.n_tokens:
            self._add(other.n_tokens, other._mean, other._squares)

    def result(self) -> Standardization:
        """The mean and std. Raises `InputError` for fewer than two tokens."""
        if self.n_tokens < 2:
            raise InputError(f"calibration saw {self.n_tokens} tokens; a standard deviation needs at least 2")
        std = (self._squares / (self.n_tokens - 1)).sqrt()
        return Standardization(self._mean.float(), std.float(), self.n_tokens)

    def _add(self, n_tokens: int, mean: Tensor, squares: Tensor) -> None:
        total = self.n_tokens + n_tokens
        delta = mean - self._mean
        self._mean = self._mean + delta * (n_tokens / total)
        self._squares = self._squares + squares + delta.pow(2) * (self.n_tokens * n_tokens / total)
        self.n_tokens = total


@dataclass(frozen=True)
class Calibration:
    """`statistics` over all tokens of all images; per layer a `sample` of raw tokens to compute metrics on.

    `n_skipped` images had activations that are not finite; they are in neither.
    """

    statistics: Mapping[Layer, Standardization]
    sample: Mapping[Layer, Float[Tensor, "token d_in"]]
    n_images: int
    n_skipped: int


def calibrate(
    batches: Iterable[UInt8[Tensor, "batch 3 height width"]],
    clip: CalibrationModel,
    layers: Sequence[Layer],
    *,
    tokens_per_image: int = SAMPLED_TOKENS_PER_IMAGE,
    max_sampled_images: int = MAX_SAMPLED_IMAGES,
    seed: int = 0,
) -> Calibration:
    """Makes one pass over the images, given as cropped pixels. The sample does not depend on batching.

    Memory: the sample takes 4 * d_in bytes per token and layer, with the defaults 131 MB a layer of ViT-L/14.
    """
    collectors = {layer: _Collector(tokens_per_image, seed) for layer in layers}
    n_images = n_skipped = 0
    for pixels in batches:
        activations = clip.forward(pixels, [layer for layer in layers if layer != EMBED])
        tokens = {layer: _tokens(activations, layer) for layer in layers}
        usable = torch.stack([t.isfinite().all(dim=2).all(dim=1) for t in tokens.values()]).all(dim=0)
        room = max(0, max_sampled_images - n_images)
        for layer, collector in collectors.items():
            collector.take(tokens[layer][usable], first_image=n_images, n_sampled=room)
        n_images += int(usable.sum())
        n_skipped += int((~usable).sum())
    return Calibration(
        statistics={layer: c.result() for layer, c in collectors.items()},
        sample={layer: c.sample() for layer, c in collectors.items()},
        n_images=n_images,
        n_skipped=n_skipped,
    )


@dataclass(frozen=True)
class ReconstructionMetrics:
    """Reconstruction metrics on the sampled tokens, in the SAE's own input space, under one normalisation.

    `dead` is the share of features active on none of the `n_tokens` sampled tokens. With few tokens it is far
    higher than the published share, which is over 10,000,000. `scopeview.sae.metrics` defines the other
    metrics.
    """

    normalization: Normalization
    n_tokens: int
    mse: float
    explained_variance: float
    fvu: float
    normalized_mae: float
    cosine: float
    l0: float
    dead: float


@dataclass(frozen=True)
class NormalizationComparison:
    """One line of the calibration table; `published` is None for layers without CLIP-Scope metrics."""

    layer: Layer
    sae: str
    figures: ReconstructionMetrics
    published: PublishedMetrics | None


def measure(sae: Sae, sample: Float[Tensor, "token d_in"]) -> ReconstructionMetrics:
    """The metrics of `sae`, with its own normalisation, on raw tokens."""
    out = sae(sample.to(sae.pre_b.device))
    fired = out.codes.features[out.codes.values > 0].unique()
    return ReconstructionMetrics(
        normalization=sae.config.normalization,
        n_tokens=len(sample),
        mse=metrics.mse(out.x, out.x_hat),
        explained_variance=metrics.explained_variance(out.x, out.x_hat),
        fvu=metrics.fvu(out.x, out.x_hat),
        normalized_mae=metrics.normalized_mae(out.x, out.x_hat),
        cosine=metrics.cosine(out.x, out.x_hat),
        l0=metrics.l0(out.codes.values),
        dead=1 - len(fired) / sae.config.n_features,
    )


def compare(sae: Sae, calibration: Calibration) -> list[NormalizationComparison]:
    """The SAE's metrics standardised and raw, in this order, beside the published ones.

    First of all comes the SAE's own normalisation if it is another.
    """
    layer, kind = sae.config.layer, sae.config.normalization
    stats = calibration.statistics[layer]
    read_as = [sae.with_standardization(stats), sae.without_standardization()]
    if kind == "center_scale":
        read_as.insert(0, sae if sae.standardization else sae.with_normalization(kind, stats.fitted_to(kind)))
    elif kind in ("layer_norm", "constant_norm"):
        read_as.insert(0, sae)
    shape = (sae.config.architecture, sae.config.d_in, sae.config.n_features)
    published = published_for(layer, sae.config.source, shape)
    return [
        NormalizationComparison(layer, sae.config.source, measure(one, calibration.sample[layer]), published)
        for one in read_as
    ]


def save_standardizations(path: Path, statistics: Mapping[Layer, Standardization], *, n_images: int) -> None:
    """Writes one safetensors file, atomically: `{layer}.mean` and `{layer}.std`; counts as metadata."""
    tensors = {
        f"{layer}.{name}": getattr(s, name) for layer, s in statistics.items() for name in ("mean", "std")
    }
    metadata = {f"{layer}.n_tokens": str(s.n_tokens) for layer, s in statistics.items()}
    metadata |= {f"{layer}.eps": repr(s.eps) for layer, s in statistics.items()}
    with atomic_write(path) as part:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            part,
            metadata={**metadata, "n_images": str(n_images)},
        )


def load_standardizations(path: Path) -> dict[Layer, Standardization]:
    """Reads the output of `save_standardizations`. Raises `IndexFormatError` for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {
                parse_layer(name): Standardization(
                    mean=file.get_tensor(f"{name}.mean"),
                    std=file.get_tensor(f"{name}.std"),
                    n_tokens=int(metadata[f"{name}.n_tokens"]),
                    eps=float(metadata[f"{name}.eps"]),
                )
                for name in sorted({key.split(".")[0] for key in file.keys()})  # noqa: SIM118
            }
    except (OSError, SafetensorError, KeyError, ValueError, InputError) as error:
        raise IndexFormatError(
            f"{path} does not hold the mean and std of each layer ({type(error).__name__}: {error}); "
            "calibrate again"
        ) from None


class _Collector:
    """One layer's moments over all tokens, and its sample of them."""

    def __init__(self, tokens_per_image: int, seed: int) -> None:
        self._tokens_per_image = tokens_per_image
        self._seed = seed
        self._moments: StreamingMoments | None = None
        self._sampled: list[Tensor] = []

    def take(self, tokens: Float[Tensor, "batch token d_in"], *, first_image: int, n_sampled: int) -> None:
        if self._moments is None:
            self._moments = StreamingMoments(tokens.shape[2])
        self._moments.update(tokens.flatten(0, 1))
        for number, image in enumerate(tokens[:n_sampled], first_image):
            self._sampled.append(image[self._positions(number, len(image))].float().cpu())

    def result(self) -> Standardization:
        return (self._moments or StreamingMoments(0)).result()

    def sample(self) -> Tensor:
        return torch.cat(self._sampled)

    def _positions(self, image: int, n_tokens: int) -> Tensor:
        """Random positions, seeded by the image's number: neither batch size nor other images affect them."""
        random = np.random.default_rng([self._seed, image])
        chosen = random.choice(n_tokens, min(self._tokens_per_image, n_tokens), replace=False)
        return torch.from_numpy(np.sort(chosen))


def _tokens(activations: ResidualActivations, layer: Layer) -> Float[Tensor, "batch token d_in"]:
    """The tokens at a layer; for `embed`, the embedding is an image's only token."""
    return activations.embedding[:, None] if layer == EMBED else activations.residuals[layer]
