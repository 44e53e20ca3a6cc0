"""The demo's stand-in SAEs: never trained, their features are activations picked from scenes of the world.

A feature then fires where the model sees much the same as it saw in one patch (or one whole scene) that was
picked, which makes an untrained browser worth looking at and promises nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from indexer.world import make_scene
from scopeview.calibration import StreamingMoments
from scopeview.clip import Clip
from scopeview.importers import native
from scopeview.sae import Sae, SaeConfig, Standardization, Weights
from scopeview.slots import EMBED, Layer

LAYERS: tuple[Layer, ...] = (1, 3, 5, EMBED)
N_FEATURES, K = 1024, 16
N_SCENES = 256
_PATCHES_PER_SCENE = 16
_BATCH_SIZE = 32


def write_saes(folder: Path, clip: Clip, seed: int) -> None:
    """One SAE a layer in our own format, `standardize`, with the mean and std over the scenes looked at."""
    random = torch.Generator().manual_seed(seed)
    for layer, tokens in _activations(clip, seed).items():
        sae = _make_sae(layer, tokens, random)
        native.save(sae, folder / str(layer), {"training": "none: features are picked activations"})


def _activations(clip: Clip, seed: int) -> dict[Layer, Float[Tensor, "image token d_in"]]:
    """Of every scene the class token and some patches; of the embedding the one vector there is."""
    blocks = [layer for layer in LAYERS if layer != EMBED]
    random = torch.Generator().manual_seed(seed)
    kept: dict[Layer, list[Tensor]] = {layer: [] for layer in LAYERS}
    for pixels in _batches(clip, seed):
        taps = clip.forward(pixels, blocks)
        patches = torch.randperm(clip.info.n_tokens - 1, generator=random)[:_PATCHES_PER_SCENE] + 1
        positions = torch.cat([torch.zeros(1, dtype=torch.long), patches])
        for layer in blocks:
            kept[layer].append(taps.residuals[layer][:, positions])
        kept[EMBED].append(taps.embedding[:, None])
    return {layer: torch.cat(parts) for layer, parts in kept.items()}


def _batches(clip: Clip, seed: int) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
    # Counted down from a number that no world reaches: scenes of the same kind, none of those indexed.
    numbers = range(2**31 - N_SCENES, 2**31)
    for start in range(0, N_SCENES, _BATCH_SIZE):
        scenes = (make_scene(seed, number) for number in numbers[start : start + _BATCH_SIZE])
        yield torch.from_numpy(np.stack([clip.preprocessing.crop(scene.image) for scene in scenes]))


def _make_sae(layer: Layer, tokens: Float[Tensor, "image token d_in"], random: torch.Generator) -> Sae:
    stats = _statistics(tokens)
    standard = (tokens - stats.mean) / (stats.std + stats.eps)
    directions = _directions(standard, random)
    config = SaeConfig("topk", layer, tokens.shape[2], N_FEATURES, K, "standardize", "sae.safetensors", "")
    weights = Weights(torch.zeros(tokens.shape[2]), directions.T.contiguous(), directions)
    scale = _least_squares_scale(Sae(config, weights, stats), tokens.flatten(0, 1))
    return Sae(config, weights._replace(dec=scale * directions), stats)


def _least_squares_scale(sae: Sae, tokens: Float[Tensor, "token d_in"]) -> Float[Tensor, ""]:
    """The one number that brings the reconstructions closest: overlapping features add up to far too much."""
    _, x, x_hat = sae(tokens)
    scale: Tensor = (x * x_hat).sum() / x_hat.square().sum()
    return scale


def _statistics(tokens: Float[Tensor, "image token d_in"]) -> Standardization:
    moments = StreamingMoments(tokens.shape[2])
    moments.update(tokens.flatten(0, 1))
    return moments.result()


def _directions(standard: Tensor, random: torch.Generator) -> Float[Tensor, "n_features d_in"]:
    """Unit vectors: a third of what scenes differ in as wholes, the rest of what patches differ in.

    All class tokens have much in common; left in, it would make the same few features fire on every scene.
    """
    wholes, patches = standard[:, 0], standard[:, 1:].flatten(0, 1)
    if len(patches) == 0:
        pairs = wholes[torch.randint(len(wholes), (N_FEATURES, 2), generator=random)]
        return normalize(pairs[:, 0] - pairs[:, 1] / 2, dim=1)
    common = normalize(wholes.mean(dim=0), dim=0)
    n_wholes = N_FEATURES // 3
    picked = [
        _spread(wholes - wholes.mean(dim=0), n_wholes, random),
        _spread(patches, N_FEATURES - n_wholes, random),
    ]
    directions = torch.cat(picked)
    directions -= (directions @ common)[:, None] * common
    return normalize(directions, dim=1)[torch.randperm(N_FEATURES, generator=random)]


def _spread(candidates: Tensor, n: int, random: torch.Generator) -> Tensor:
    """`n` of the candidates, far from one another more likely than near (as k-means++ begins)."""
    unit = normalize(candidates, dim=1)
    chosen = [int(torch.randint(len(unit), (1,), generator=random))]
    distance = torch.full((len(unit),), torch.inf)
    while len(chosen) < n:
        distance = torch.minimum(distance, (1 - unit @ unit[chosen[-1]]).clamp_min(0))
        chosen.append(int(torch.multinomial(distance + 1e-9, 1, generator=random)))
    return candidates[chosen]
