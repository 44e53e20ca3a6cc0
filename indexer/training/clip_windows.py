"""The part of a scene that a training step sees: a square of patches, and the region that each shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from indexer.training.clip_config import GRID, PATCH_PX
from indexer.world.captions import (
    Caption,
    place_caption_of,
    place_facts_of,
    thing_caption_of,
    thing_facts_of,
)
from indexer.world.masks import Mask
from indexer.world.sampling import RandomStream
from indexer.world.scene import Scene

NO_REGION = -1
_MIN_SHARE = 0.5  # of a patch, for it to show a thing


class Window(NamedTuple):
    left: int
    """In patches, like `top` and `side`."""
    top: int
    side: int

    @property
    def patches(self) -> Int64[np.ndarray, " patch"]:
        """The patches' numbers on the whole grid, row by row."""
        rows, columns = (start + np.arange(self.side) for start in (self.top, self.left))
        return (rows[:, None] * GRID + columns).ravel().astype(np.int64)

    def pixels(self, scene: Scene) -> UInt8[np.ndarray, "3 height width"]:
        left, top, size = (PATCH_PX * number for number in self)
        return np.asarray(scene.image)[top : top + size, left : left + size].transpose(2, 0, 1)


FULL_WINDOW = Window(0, 0, GRID)


class Regions(NamedTuple):
    """The things of a scene and its background, those that at least one patch shows."""

    captions: list[Caption]
    facts: list[frozenset[str]]
    of_patch: Int64[np.ndarray, " patch"]
    """The number of each patch's region; `NO_REGION` if the patch shows parts of several."""


def object_window(scene: Scene, side: int) -> Window:
    """A window of `side` patches with as much of the first thing as possible; twins get the same window."""
    random = RandomStream(scene.seed, scene.number, "window")
    left, top, right, bottom = scene.things[0].box
    return Window(_start(left, right, side, random), _start(top, bottom, side, random), side)


def _start(low_px: int, high_px: int, side: int, random: RandomStream) -> int:
    bounds = -(-high_px // PATCH_PX) - side, low_px // PATCH_PX
    first, last = sorted(min(max(bound, 0), GRID - side) for bound in bounds)
    return random.integer(first, last)


def scene_regions(scene: Scene, window: Window) -> Regions:
    """The regions that at least one patch of the window shows."""
    random = RandomStream(scene.seed, scene.number, "regions")
    named = [(thing_caption_of(thing, random), thing_facts_of(thing)) for thing in scene.things]
    named.append((place_caption_of(scene.backdrop, random), place_facts_of(scene.backdrop)))
    shown = _shown(scene.masks)[window.patches]
    found, of_patch = np.unique(shown[shown != NO_REGION], return_inverse=True)
    numbers = np.full(len(shown), NO_REGION, dtype=np.int64)
    numbers[shown != NO_REGION] = of_patch
    return Regions([named[n][0] for n in found], [named[n][1] for n in found], numbers)


def _shown(masks: Sequence[Mask]) -> Int64[np.ndarray, " patch"]:
    """The thing over half of each patch; one past the last if none touches it; else `NO_REGION`."""
    blocks = np.stack(masks).reshape(-1, GRID, PATCH_PX, GRID, PATCH_PX)
    cover = blocks.mean(axis=(2, 4)).reshape(len(masks), -1)
    shown = np.where(cover.max(axis=0) > _MIN_SHARE, cover.argmax(axis=0), NO_REGION)
    return np.where(cover.sum(axis=0) == 0, len(masks), shown).astype(np.int64)
