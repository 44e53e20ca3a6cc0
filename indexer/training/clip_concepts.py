"""Naming concepts: linear heads that are trained beside the contrast and are no part of the model.

A contrast teaches little about shapes as long as colours and backgrounds alone tell most captions apart. A
head that must name each kind, colour and background from the embedding requires all of them from the first
step (compare "SuperClass", Huang et al., 2024, which classifies captions' words instead of contrasting
captions). Another head must name what each patch is a part of, and so requires local shapes and patterns.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from indexer.training.clip_config import ClipSettings
from indexer.world.backgrounds import background_kinds
from indexer.world.kinds import kinds
from indexer.world.palette import COLOURS

_BACKGROUND_WEIGHT = 0.5  # of a patch of a background, of which there are more than of things


def concepts() -> list[str]:
    """The concepts that images are classified by, as claims of `facts_of`: kinds, colors and backgrounds."""
    return [*_of_things(kinds()), *_of_things(COLOURS), *_of_backgrounds()]


def subjects() -> list[str]:
    """The classes of patches: kinds of objects and kinds of backgrounds."""
    return [*_of_things(kinds()), *_of_backgrounds()]


def _of_things(words: Iterable[str]) -> list[str]:
    return [f"1 {word}" for word in words]


def _of_backgrounds() -> list[str]:
    return [f"on {kind}" for kind in background_kinds()]


def concept_shares(facts: Sequence[frozenset[str]]) -> Float[np.ndarray, "subject concept"]:
    """The concepts true of each subject, equally weighted; each row sums to 1."""
    columns = {concept: number for number, concept in enumerate(concepts())}
    found = np.zeros((len(facts), len(columns)), dtype=np.float32)
    for row, known in zip(found, facts, strict=True):
        row[[columns[fact] for fact in known if fact in columns]] = 1
    shares: Float[np.ndarray, "subject concept"] = found / found.sum(axis=1, keepdims=True)
    return shares


def subject_numbers(facts: Sequence[frozenset[str]]) -> Int64[np.ndarray, " region"]:
    """The number in `subjects` of each thing or background."""
    numbers = {subject: number for number, subject in enumerate(subjects())}
    found = [next(numbers[fact] for fact in known if fact in numbers) for known in facts]
    return np.array(found, dtype=np.int64)


class Heads(torch.nn.Module):
    """The linear heads. Equal seeds give equal initial weights."""

    def __init__(self, settings: ClipSettings) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.of_images = torch.nn.Linear(settings.projection, len(concepts()))
            """Maps embeddings to the logits of `concepts`."""
            self.of_patches = torch.nn.Linear(settings.width, len(subjects()))
            """Maps the residual stream after the last block to the logits of `subjects`."""

    def concept_loss(
        self, images: Float[Tensor, "batch projection"], shares: Float[Tensor, "batch concept"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean cross-entropy of the images' concepts under a softmax over all concepts, and the share of
        images for which the most likely concept is true."""
        logits = self.of_images(images.float())
        right = shares.gather(1, logits.argmax(dim=1, keepdim=True)) > 0
        return -(shares * log_softmax(logits, dim=1)).sum(dim=1).mean(), right.float().mean()

    def patch_loss(
        self, residual: Float[Tensor, "patch width"], shown: Int64[Tensor, " patch"]
    ) -> Float[Tensor, ""]:
        """The mean cross-entropy of the subjects that patches show; backgrounds have a lower weight."""
        weights = torch.ones(self.of_patches.out_features, device=residual.device)
        weights[len(kinds()) :] = _BACKGROUND_WEIGHT
        return cross_entropy(self.of_patches(residual.float()), shown, weight=weights)
