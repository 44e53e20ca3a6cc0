"""The contrast of images and captions, or patches and names: matching pairs against all others."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


class Contrast(NamedTuple):
    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    """Share of the images whose own caption is nearer than every wrong one."""


def contrast(
    images: Float[Tensor, "batch projection"],
    texts: Float[Tensor, "batch projection"],
    scale: Float[Tensor, ""],
    also_true: Bool[Tensor, "batch batch"],
) -> Contrast:
    """Symmetric InfoNCE: the mean of both directions' cross-entropies of `scale` times the cosine.

    A caption that is also true of another image is left out as a negative for it.
    """
    cosines = normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T
    logits = (scale * cosines).masked_fill(also_true, -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    return Contrast(loss, (logits.argmax(dim=1) == own).float().mean())


def mean_by_region(
    losses: Float[Tensor, " patch"], region_of_patch: Int64[Tensor, " patch"]
) -> Float[Tensor, ""]:
    """The mean loss; every region has equal weight, however large. Regions are numbered from 0."""
    sizes = region_of_patch.bincount()
    return (losses / sizes[region_of_patch]).sum() / (sizes > 0).sum()


def region_contrast(
    patches: Float[Tensor, "patch projection"],
    region_of_patch: Int64[Tensor, " patch"],
    names: Float[Tensor, "region projection"],
    scale: Float[Tensor, ""],
    also_true: Bool[Tensor, "region region"],
) -> Float[Tensor, " patch"]:
    """The cross-entropy of each patch among all regions' names, with its own region's name as the answer.

    Other names that are also true of the patch's region are left out.
    """
    cosines = normalize(patches.float(), dim=1) @ normalize(names.float(), dim=1).T
    logits = (scale * cosines).masked_fill(also_true[region_of_patch], -torch.inf)
    return cross_entropy(logits, region_of_patch, reduction="none")
