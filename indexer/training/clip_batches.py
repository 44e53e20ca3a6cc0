"""Batches of scenes, drawn when needed and never twice; batch number `step` is the same on every run.

Most steps see a window of scenes with one thing, the others whole scenes with any number of things. While
texts are trained, part of each batch consists of groups of twins: scenes that differ only in the kind, or the
colour, of one thing.
"""

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from indexer.training.clip_concepts import concept_shares, subject_numbers
from indexer.training.clip_config import ClipSettings
from indexer.training.clip_tokenizer import encode, make_tokenizer
from indexer.training.clip_windows import (
    FULL_WINDOW,
    NO_REGION,
    Regions,
    Window,
    object_window,
    scene_regions,
)
from indexer.world.captions import Caption
from indexer.world.sampling import RandomStream
from indexer.world.scene import Scene, make_scene, make_twins
from indexer.world.scene_objects import Difference

_GROUP = 6
_COLOUR_EVERY = 3  # of three groups of twins, one differs in colour and two in kind
_AHEAD = 4  # batches a worker


class SceneBatch(NamedTuple):
    pixels: UInt8[Tensor, "batch 3 height width"]
    words: Int64[Tensor, "batch token"]
    also_true: Bool[Tensor, "image caption"]
    """True for captions of other images in the batch that describe this one too: they count neither as
    negatives nor as positives."""
    concepts: Float[Tensor, "batch concept"]
    """The shares that `concept_shares` returns."""
    patches: Int64[Tensor, "batch patch"]
    """The numbers of these patches on the whole grid."""
    region_of_patch: Int64[Tensor, "batch patch"]
    """The number in the batch of the region that each patch shows; `NO_REGION` if it shows none."""
    region_words: Int64[Tensor, "region region_token"]
    region_also_true: Bool[Tensor, "region name"]
    """True for names of other regions that also describe this one."""
    region_subjects: Int64[Tensor, " region"]
    """The numbers that `subject_numbers` returns."""


class Batches(Dataset[SceneBatch]):
    """Every batch of a run, by step."""

    def __init__(self, settings: ClipSettings) -> None:
        self._settings, self._tokenizer = settings, make_tokenizer()

    def __len__(self) -> int:
        return self._settings.n_steps

    def __getitem__(self, step: int) -> SceneBatch:
        scenes = draw_scenes(self._settings, step)
        windows = [self._window(scene, step) for scene in scenes]
        pixels = np.stack([window.pixels(scene) for scene, window in zip(scenes, windows, strict=True)])
        patches = np.stack([window.patches for window in windows])
        captions = [_caption(scene, self._settings.brief_captions) for scene in scenes]
        facts = [scene.facts() for scene in scenes]
        regions = [scene_regions(scene, window) for scene, window in zip(scenes, windows, strict=True)]
        named = (*self._named(captions, facts), concept_shares(facts))
        parts = (pixels, *named, patches, *self._regions(regions))
        return SceneBatch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))

    def _window(self, scene: Scene, step: int) -> Window:
        return (
            FULL_WINDOW if self._settings.is_full_scene(step) else object_window(scene, self._settings.window)
        )

    def _named(
        self, captions: Sequence[Caption], facts: Sequence[frozenset[str]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The captions' tokens, and which captions also describe other subjects."""
        also_true = matching_claims(captions, facts)
        np.fill_diagonal(also_true, False)
        return encode(self._tokenizer, [caption.text for caption in captions]), also_true

    def _regions(self, found: Sequence[Regions]) -> tuple[np.ndarray, ...]:
        """The region of each patch, numbered through the batch; results of `_named`; subject numbers."""
        firsts = np.cumsum([0, *(len(regions.captions) for regions in found)])[:-1]
        of_patch = np.stack([regions.of_patch for regions in found])
        of_patch = np.where(of_patch == NO_REGION, NO_REGION, of_patch + firsts[:, None])
        captions = [caption for regions in found for caption in regions.captions]
        facts = [facts for regions in found for facts in regions.facts]
        return of_patch, *self._named(captions, facts), subject_numbers(facts)


def training_world(seed: int) -> int:
    """The world that a run of this seed draws from: below zero, a range that no other command draws from."""
    return -1 - seed


def draw_scenes(settings: ClipSettings, step: int) -> list[Scene]:
    """Draws groups of twins first, then unrelated scenes."""
    seed, first, size = training_world(settings.seed), step * settings.batch_size, settings.batch_size
    n_things = None if settings.is_full_scene(step) else 1
    group = min(_GROUP, size)
    n_groups = int(settings.hard_negatives * size) // group if settings.has_texts(step) else 0
    scenes: list[Scene] = []
    for place in range(n_groups):
        difference: Difference = "colour" if place % _COLOUR_EVERY == 0 else "kind"
        scenes += make_twins(seed, first + len(scenes), group, difference, n_things=n_things)
    scenes += [make_scene(seed, first + place, n_things=n_things) for place in range(len(scenes), size)]
    return scenes


def matching_claims(
    captions: Sequence[Caption], facts: Sequence[frozenset[str]]
) -> Bool[np.ndarray, "image caption"]:
    """True where a caption describes an image: all its claims are among the image's facts."""
    columns = {claim: n for n, claim in enumerate(sorted(frozenset().union(*(c.claims for c in captions))))}
    claimed = np.zeros((len(captions), len(columns)), dtype=np.float32)
    known = np.zeros((len(facts), len(columns)), dtype=np.float32)
    for row, caption in zip(claimed, captions, strict=True):
        row[[columns[claim] for claim in caption.claims]] = 1
    for row, found in zip(known, facts, strict=True):
        row[[columns[fact] for fact in found if fact in columns]] = 1
    met: Bool[np.ndarray, "image caption"] = known @ claimed.T == claimed.sum(axis=1)
    return met


def stream(settings: ClipSettings, first_step: int, n_workers: int) -> Iterator[SceneBatch]:
    """Batches from `first_step` to the last, in order, drawn ahead by workers (0: by this process)."""
    loader = DataLoader(
        Batches(settings),
        batch_size=None,
        sampler=range(first_step, settings.n_steps),
        num_workers=n_workers,
        prefetch_factor=_AHEAD if n_workers else None,
        multiprocessing_context="spawn" if n_workers else None,
        worker_init_fn=_ignore_interrupts,
    )
    return iter(loader)


def _ignore_interrupts(_worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _caption(scene: Scene, brief_share: float) -> Caption:
    is_brief = RandomStream(scene.seed, scene.number, "caption").integer(1, 1000) <= 1000 * brief_share
    return scene.brief_caption() if is_brief else scene.full_caption
