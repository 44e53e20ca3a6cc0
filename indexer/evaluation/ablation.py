"""Does a scene look less like its content without its heaviest group of features?

For a scene with one thing, at one layer, the features active at the tokens are grouped, as on the scene's
page, and the heaviest group is set to 0. For comparison, features outside the group with as much mass are set
to 0 at random (all of them if the group holds more than half). The loss is measured as CLIP's zero-shot
probability of the right prompt, before and after.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor

from scopeview.analysis.decomposition import LayerDecomposition, Peaks
from scopeview.analysis.feature_edits import Edit, FeatureEdits, code_change, zero_shot
from scopeview.analysis.grouping import group_features
from scopeview.analysis.steering import residual_change
from scopeview.slots import ANY, CLS, EMBED, Layer, Token
from scopeview.vision.clip import ResidualActivations
from scopeview.vision.encoder import Encoder

_SPARE = 1.05  # the random features have at most so many times the group's mass


class AblationSite(NamedTuple):
    """A layer, and the tokens whose features are grouped and removed: `cls`, or `any` for all of them."""

    layer: Layer
    token: Token


class Ablation(NamedTuple):
    """CLIP's embeddings of one scene: unchanged, without its heaviest group, without equal random mass."""

    whole: Float32[np.ndarray, " projection"]
    without_group: Float32[np.ndarray, " projection"]
    without_random: Float32[np.ndarray, " projection"]
    share: float
    """The group's share of the activation mass."""
    random_share: float


class AblationShares(NamedTuple):
    """The results of all scenes at one site, for one question; `halves`: shares that lose over half."""

    n_scenes: int
    share: float
    """Mean share of the mass that was set to 0."""
    random_share: float
    right: float
    """Share of the scenes whose right prompt is the likeliest before anything is removed."""
    lowers: float
    lowers_random: float
    halves: float
    halves_random: float
    before: float
    """Mean probability of the right prompt."""
    after: float
    after_random: float


def ablation_sites(layers: Sequence[Layer]) -> list[AblationSite]:
    """The sites to measure: `any` and `cls` at each block, `cls` alone at `embed`."""
    return [
        AblationSite(layer, token) for layer in layers for token in ([CLS] if layer == EMBED else [ANY, CLS])
    ]


@torch.inference_mode()
def ablate_scene(
    encoder: Encoder, crop: UInt8[np.ndarray, "3 height width"], random: np.random.Generator
) -> Iterator[tuple[AblationSite, Ablation]]:
    """Ablates one scene, given as the pixels that the model sees, at every site."""
    (decomposition,) = encoder.decompose(crop[None], embedding=False)
    activations = encoder.clip.forward(
        torch.from_numpy(crop)[None], [layer for layer in encoder.saes if layer != EMBED]
    )
    for place in ablation_sites(list(encoder.saes)):
        yield place, _ablate_at(encoder, activations, decomposition.layers[place.layer], place, random)


def ablation_shares(
    found: Sequence[Ablation],
    right: Sequence[int],
    prompts: Float32[np.ndarray, "prompt projection"],
    logit_scale: float,
) -> AblationShares:
    """Summarizes at least one scene. `right` is the number of each scene's own prompt."""
    whole, group, rest = (
        _probabilities([getattr(removal, name) for removal in found], prompts, logit_scale)
        for name in ("whole", "without_group", "without_random")
    )
    each = np.arange(len(found))
    before, after, after_random = (table[each, right] for table in (whole, group, rest))
    return AblationShares(
        n_scenes=len(found),
        share=float(np.mean([removal.share for removal in found])),
        random_share=float(np.mean([removal.random_share for removal in found])),
        right=float((whole.argmax(axis=1) == right).mean()),
        lowers=float((after < before).mean()),
        lowers_random=float((after_random < before).mean()),
        halves=float((after < before / 2).mean()),
        halves_random=float((after_random < before / 2).mean()),
        before=float(before.mean()),
        after=float(after.mean()),
        after_random=float(after_random.mean()),
    )


def random_features(
    peaks: Peaks, without: Int64[np.ndarray, " member"], mass: float, random: np.random.Generator
) -> list[int]:
    """Features in random order, none of `without`, as long as they fit into the given mass."""
    chosen: list[int] = []
    left = mass * _SPARE
    outside = np.flatnonzero(~np.isin(peaks.features, without))
    for row in random.permutation(outside):
        if peaks.masses[row] <= left:
            chosen.append(int(peaks.features[row]))
            left -= float(peaks.masses[row])
    return chosen


def _ablate_at(
    encoder: Encoder,
    activations: ResidualActivations,
    layer: LayerDecomposition,
    place: AblationSite,
    random: np.random.Generator,
) -> Ablation:
    tokens = None if place.token == ANY else (0,)
    peaks = Peaks(layer, tokens)
    directions = encoder.directions(place.layer, peaks.features.tolist())
    groups = group_features(peaks.features, peaks.masses, directions)
    if not groups:  # nothing fires there, so nothing can be set to 0
        (whole,) = _run(encoder, activations, place.layer, [])
        return Ablation(whole, whole, whole, 0.0, 0.0)
    heaviest = groups[0]
    others = random_features(peaks, heaviest.features, float(heaviest.masses.sum()), random)
    at = place.layer
    stream = activations.embedding if at == EMBED else activations.residuals[at][0]
    changes = [
        _change(encoder, layer, at, features, tokens, stream)
        for features in (heaviest.features.tolist(), others)
    ]
    whole, without_group, without_random = _run(encoder, activations, place.layer, changes)
    others_mass = peaks.masses[np.isin(peaks.features, others)].sum() / peaks.masses.sum()
    return Ablation(whole, without_group, without_random, heaviest.share, float(others_mass))


def _change(
    encoder: Encoder,
    layer: LayerDecomposition,
    at: Layer,
    features: Sequence[int],
    tokens: tuple[int, ...] | None,
    stream: Float[Tensor, "token d_in"],
) -> Float[Tensor, "token d_in"]:
    edits = FeatureEdits(at, (Edit(tuple(features), "set", 0.0),), tokens)
    return residual_change(encoder.saes[at], code_change(layer, edits), stream)


def _run(
    encoder: Encoder,
    activations: ResidualActivations,
    layer: Layer,
    changes: Sequence[Float[Tensor, "token d_in"]],
) -> list[Float32[np.ndarray, " projection"]]:
    """The embedding without any change, then with each change, in one batch."""
    if layer == EMBED:
        embeddings = torch.cat(
            [activations.embedding, *(activations.embedding + change for change in changes)]
        )
    else:
        stream = activations.residuals[layer]
        edited = torch.cat([stream, *(stream + change[None] for change in changes)])
        embeddings = encoder.clip.resume(edited, layer)
    return list(embeddings.cpu().numpy())


def _probabilities(
    embeddings: Sequence[Float32[np.ndarray, " projection"]],
    prompts: Float32[np.ndarray, "prompt projection"],
    logit_scale: float,
) -> Float64[np.ndarray, "scene prompt"]:
    return np.stack([zero_shot(embedding, prompts, logit_scale) for embedding in embeddings])
