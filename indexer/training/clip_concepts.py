"""Naming concepts from embeddings: a linear head that learns beside the contrast and is no part of the model.

A contrast teaches little about shapes while colours and backgrounds alone tell most captions apart; a head
that must say each kind, colour and background from the embedding asks for all of them from the first step
(compare "SuperClass", Huang et al., 2024, which classifies captions' words instead of contrasting captions).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import log_softmax

from indexer.training.clip_config import ClipSettings
from indexer.world.backgrounds import background_kinds, tinted_kinds
from indexer.world.palette import COLOURS, TINTS
from indexer.world.things import kinds


def concepts() -> list[str]:
    """As claims of `facts_of`: kinds, colours, kinds of background, and these in every tint."""
    things = [f"1 {word}" for word in (*kinds(), *COLOURS)]
    places = [f"on {kind}" for kind in background_kinds()]
    return [*things, *places, *(f"on {tint} {kind}" for kind in tinted_kinds() for tint in TINTS)]


def shares_of(facts: Sequence[frozenset[str]]) -> Float[np.ndarray, "subject concept"]:
    """Of each subject the concepts true of it, all alike; each row's sum is 1."""
    columns = {concept: number for number, concept in enumerate(concepts())}
    found = np.zeros((len(facts), len(columns)), dtype=np.float32)
    for row, known in zip(found, facts, strict=True):
        row[[columns[fact] for fact in known if fact in columns]] = 1
    shares: Float[np.ndarray, "subject concept"] = found / found.sum(axis=1, keepdims=True)
    return shares


def new_head(settings: ClipSettings) -> torch.nn.Linear:
    """From embeddings to the logits of `concepts`; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return torch.nn.Linear(settings.projection, len(concepts()))


def naming_losses(
    logits: Float[Tensor, "subject concept"], shares: Float[Tensor, "subject concept"]
) -> Float[Tensor, " subject"]:
    """The cross-entropy of each subject's concepts under the softmax over all."""
    return -(shares * log_softmax(logits.float(), dim=1)).sum(dim=1)


def mean_by_region(
    losses: Float[Tensor, " patch"], region_of_patch: Int64[Tensor, " patch"]
) -> Float[Tensor, ""]:
    """Every region counts alike, however many patches show it. Regions are numbered from 0."""
    sizes = region_of_patch.bincount()
    return (losses / sizes[region_of_patch]).sum() / (sizes > 0).sum()
