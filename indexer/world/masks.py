"""Which pixels of an image show which thing, and how JSON represents that.

A mask is written as run lengths, row after row from the top left, beginning outside the thing. For example,
`[130, 4, 124, 6, ...]` says that pixels 130 to 133 are inside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from indexer.world.canvas import IMAGE_PX, Silhouette

Mask = Bool[np.ndarray, "height=128 width=128"]
_HALF = 128  # of 255: a pixel belongs to what covers half of it


def visible_masks(silhouettes: Sequence[Silhouette]) -> list[Mask]:
    """The visible part of each thing, back to front: the part that no later thing covers."""
    covered = np.zeros((IMAGE_PX, IMAGE_PX), dtype=bool)
    masks: list[Mask] = []
    for left, top, coverage in reversed(silhouettes):
        whole = Image.new("L", (IMAGE_PX, IMAGE_PX))
        whole.paste(coverage, (left, top))
        inside = np.asarray(whole) >= _HALF
        masks.append(inside & ~covered)
        covered |= inside
    return masks[::-1]


def runs_of(mask: Mask) -> list[int]:
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *([0] if flat[0] else []), *changes.tolist(), flat.size]
    return np.diff(edges).tolist()


def mask_of(thing: Mapping[str, Any]) -> Mask:
    """The mask of one object of a scene's content, as in `Scene.truth` or a sample's JSON."""
    runs: list[int] = thing["mask"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(IMAGE_PX, IMAGE_PX)
