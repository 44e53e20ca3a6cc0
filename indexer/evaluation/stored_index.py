"""Features and scenes of an index as arrays: only the scenes' content is computed again."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from indexer.evaluation.controls import Controls
from indexer.evaluation.scenes import SceneTruths, concatenate_truths, indexed_scenes, scene_truth
from indexer.evaluation.score import N_TOP, Top
from indexer.prepare import IMAGE_LIMITS, batched
from indexer.world import Scene
from indexer.world.write import jpeg
from scopeview.errors import InputError
from scopeview.images import decode
from scopeview.progress import task
from scopeview.slots import ANY, Slot
from scopeview.store.reader import IndexReader
from scopeview.vision.clip import Clip

_BATCH_SIZE = 16


class StoredTop(NamedTuple):
    """The scored features of one slot."""

    top: Top
    positions: Int64[np.ndarray, "feature rank=9"] | None
    """Token numbers of the maxima, for a slot at `any`; else None."""


def read_top(reader: IndexReader, slot: Slot) -> StoredTop:
    """Reads the features that fire on at least nine scenes, with their top nine."""
    rows = reader.sql(
        "SELECT feature, top_images[:$n], top_positions[:$n] FROM features"
        " WHERE layer = $layer AND token = $token AND n_active >= $n ORDER BY feature",
        {"layer": str(slot.layer), "token": slot.token, "n": N_TOP},
    )
    features, scenes = (_integers(rows, column) for column in (0, 1))
    positions = _integers(rows, 2).reshape(-1, N_TOP) if slot.token == ANY else None
    return StoredTop(Top(features, scenes.reshape(-1, N_TOP)), positions)


def _integers(rows: Sequence[tuple[Any, ...]], column: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([row[column] for row in rows], dtype=np.int64)


def read_truths(reader: IndexReader, seed: int, controls: Controls | None = None) -> SceneTruths:
    """The truth of every image's scene, by image id; `controls` receive the scenes' pixels, in that order.

    Raises `InputError` for an index of fewer than nine images, and as `indexed_scenes` does.
    """
    n_scenes, grid = reader.manifest.n_images, reader.manifest.model.grid_size
    if n_scenes < N_TOP:
        raise InputError(
            f"{reader.index_dir} has {n_scenes} images; features are scored by their top {N_TOP}"
        )
    parts: list[SceneTruths] = []
    with task("scenes" if controls is None else "controls", n_scenes, "scenes") as progress:
        for batch in batched(indexed_scenes(reader, seed), _BATCH_SIZE):
            parts += [scene_truth(scene, grid) for scene in batch]
            if controls is not None:
                controls.take(scene_pixels(batch, controls.clip))
            progress.advance(len(batch))
    return concatenate_truths(parts)


def scene_pixels(scenes: Sequence[Scene], clip: Clip) -> UInt8[Tensor, "batch 3 height width"]:
    """The pixels that the model sees when the scenes' files are indexed."""
    decoded = (decode(jpeg(scene.image), IMAGE_LIMITS).image for scene in scenes)
    return torch.from_numpy(np.stack([clip.preprocessing.crop(image) for image in decoded]))
