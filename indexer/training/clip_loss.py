"""The contrast between images and captions that belong together and those that do not."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
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

    A caption that is also true of another image counts neither for nor against the two of them.
    """
    cosines = normalize(images.float(), dim=1) @ normalize(texts.float(), dim=1).T
    logits = (scale * cosines).masked_fill(also_true, -torch.inf)
    own = torch.arange(len(logits), device=logits.device)
    loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    return Contrast(loss, (logits.argmax(dim=1) == own).float().mean())
