"""Calibrate: the statistics that standardise each SAE's input, and how well each SAE rebuilds these images.

One pass over some images from every shard. The index keeps the result, and uploads use it too.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from indexer.prepare import Preparer, batched, ordered
from indexer.sources import Source
from scopeview.calibration import (
    Calibration,
    calibrate,
    load_standardizations,
    measure,
    save_standardizations,
)
from scopeview.clip import Clip
from scopeview.errors import TooManyBadImagesError
from scopeview.progress import Task, task
from scopeview.recipe import Recipe
from scopeview.sae import Sae
from scopeview.slots import Layer, parse_layer
from scopeview.store.files import FIGURES, NORMALIZATION, write_json
from scopeview.store.manifest import SaeFigures


def calibrated_saes(
    index_dir: Path, source: Source, recipe: Recipe, clip: Clip, *, n_images: int, batch_size: int
) -> dict[Layer, Sae]:
    """The recipe's SAEs, ready to encode; the pass is made once an index, and found again on resuming."""
    device = str(clip.device)
    if not (index_dir / FIGURES).exists():
        calibration = calibrate_source(source, recipe, clip, n_images=n_images, batch_size=batch_size)
        saes = recipe.load_saes(device, {})
        waiting = [layer for layer, sae in saes.items() if sae.needs_standardization]
        stats = {layer: calibration.statistics[layer] for layer in waiting}
        save_standardizations(index_dir / NORMALIZATION, stats, n_images=calibration.n_images)
        saes |= {layer: saes[layer].with_standardization(stats[layer]) for layer in waiting}
        _write_figures(index_dir, {layer: _figures(sae, calibration) for layer, sae in saes.items()})
        return saes
    return recipe.load_saes(device, load_standardizations(index_dir / NORMALIZATION))


def calibrate_source(
    source: Source, recipe: Recipe, clip: Clip, *, n_images: int, batch_size: int
) -> Calibration:
    """A pass over `n_images` images, as many from each shard as from any other."""
    with task("calibrate", n_images, "images") as progress:
        batches = _batches(source, recipe, n_images, batch_size, progress)
        return calibrate(batches, clip, recipe.layers)


def read_figures(index_dir: Path) -> dict[Layer, SaeFigures]:
    """What the calibration pass of this index measured, by layer."""
    saved = json.loads((index_dir / FIGURES).read_bytes())
    return {parse_layer(layer): SaeFigures.model_validate(figures) for layer, figures in saved.items()}


def _figures(sae: Sae, calibration: Calibration) -> SaeFigures:
    found = measure(sae, calibration.sample[sae.config.layer])
    return SaeFigures(
        explained_variance=found.explained_variance, mse=found.mse, l0=found.l0, n_tokens=found.n_tokens
    )


def _write_figures(index_dir: Path, figures: dict[Layer, SaeFigures]) -> None:
    write_json(index_dir / FIGURES, {str(layer): found.model_dump() for layer, found in figures.items()})


def _batches(
    source: Source, recipe: Recipe, n_images: int, batch_size: int, progress: Task
) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
    n_found = 0
    for batch in batched(islice(_crops(source, recipe, n_images), n_images), batch_size):
        n_found += len(batch)
        progress.advance(len(batch))
        yield torch.from_numpy(np.stack(batch))
    progress.expect(n_found)
    if n_found == 0:
        raise TooManyBadImagesError(f"{source.root}: none of the first images of any shard can be used")


def _crops(source: Source, recipe: Recipe, n_images: int) -> Iterator[UInt8[np.ndarray, "3 height width"]]:
    share = -(-n_images // len(source.shards))
    prepare = Preparer(recipe.preprocessing, thumb_px=None)
    with ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="decode") as pool:
        for shard in source.shards:
            found = (p for _, p in ordered(pool, prepare, shard.samples(), ahead=32) if p is not None)
            yield from (prepared.crop for prepared in islice(found, share))
