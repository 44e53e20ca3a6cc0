"""Calibrate: the statistics that standardise each SAE's input, and each SAE's reconstruction metrics.

Makes one pass over the first images to be indexed. Which images these are must not depend on how the source
is cut into shards; otherwise the same images would get other features from tars than from a folder. The index
keeps the result, and uploads use it too.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from indexer.prepare import Preparer, batched, ordered
from indexer.sources import Source
from scopeview.blocklist import Rules
from scopeview.errors import CheckpointError, TooManyBadImagesError
from scopeview.model_spec import Recipe
from scopeview.progress import Task, task
from scopeview.sae.autoencoder import Sae
from scopeview.sae.calibration import (
    Calibration,
    calibrate,
    load_standardizations,
    measure,
    save_standardizations,
)
from scopeview.slots import Layer, parse_layer
from scopeview.store.files import FIGURES, NORMALIZATION, write_json
from scopeview.store.manifest import SaeFigures
from scopeview.vision.clip import Clip

# Of activations of about 1e15, where the fixed-point sums of the index come to their end.
_MAX_MSE = 1e30


class NoUsableImagesError(TooManyBadImagesError):
    """None of the images can be used."""


@dataclass(frozen=True)
class CalibrationSet:
    """The first `n_images` usable images among the first `limit` samples (None: all) of a source."""

    source: Source
    n_images: int
    limit: int | None = None
    rules: Rules | None = None  # what these block is not measured either


def calibrated_saes(
    index_dir: Path,
    images: CalibrationSet,
    recipe: Recipe,
    clip: Clip,
    saes: Mapping[Layer, Sae],
    batch_size: int,
) -> dict[Layer, Sae]:
    """The recipe's SAEs, ready to encode. The pass runs once per index; a resumed run reads its result."""
    if (index_dir / FIGURES).exists():
        return recipe.normalized(saes, load_standardizations(index_dir / NORMALIZATION), clip.device)
    calibration = run_calibration(images, recipe, clip, batch_size=batch_size)
    waiting = [layer for layer, sae in saes.items() if recipe.needs_statistics(sae)]
    stats = {layer: calibration.statistics[layer].fitted_to(recipe.normalization[layer]) for layer in waiting}
    save_standardizations(index_dir / NORMALIZATION, stats, n_images=calibration.n_images)
    ready = recipe.normalized(saes, stats, clip.device)
    _write_figures(index_dir, {layer: _figures(sae, calibration) for layer, sae in ready.items()})
    return ready


def run_calibration(images: CalibrationSet, recipe: Recipe, clip: Clip, *, batch_size: int) -> Calibration:
    """Runs the calibration pass. Raises `NoUsableImagesError` if none of the images can be used."""
    with task("calibrate", images.n_images, "images") as progress:
        batches = _batches(images, recipe, batch_size, progress)
        return calibrate(batches, clip, recipe.layers)


def read_figures(index_dir: Path) -> dict[Layer, SaeFigures]:
    """The reconstruction metrics that this index's calibration pass measured, by layer."""
    saved = json.loads((index_dir / FIGURES).read_bytes())
    return {parse_layer(layer): SaeFigures.model_validate(figures) for layer, figures in saved.items()}


def _figures(sae: Sae, calibration: Calibration) -> SaeFigures:
    found = measure(sae, calibration.sample[sae.config.layer])
    if not (found.mse < _MAX_MSE and math.isfinite(found.explained_variance)):
        raise CheckpointError(
            f"{sae.config.source} gives numbers beyond all scale on these images (MSE {found.mse:.3g},"
            f" explained variance {found.explained_variance:.3g}); expected weights that fit the model"
        )
    return SaeFigures(
        explained_variance=found.explained_variance, mse=found.mse, l0=found.l0, n_tokens=found.n_tokens
    )


def _write_figures(index_dir: Path, figures: dict[Layer, SaeFigures]) -> None:
    write_json(index_dir / FIGURES, {str(layer): found.model_dump() for layer, found in figures.items()})


def _batches(
    images: CalibrationSet, recipe: Recipe, batch_size: int, progress: Task
) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
    n_found = 0
    for batch in batched(islice(_crops(images, recipe), images.n_images), batch_size):
        n_found += len(batch)
        progress.advance(len(batch))
        yield torch.from_numpy(np.stack(batch))
    progress.expect(n_found)
    if n_found == 0:
        raise NoUsableImagesError(f"{images.source.root}: none of its images can be used")


def _crops(images: CalibrationSet, recipe: Recipe) -> Iterator[UInt8[np.ndarray, "3 height width"]]:
    prepare = Preparer(recipe.preprocessing, None, images.rules)
    samples = chain.from_iterable(shard.samples() for shard in images.source.shards)
    with ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="decode") as pool:
        for _, prepared in ordered(pool, prepare, islice(samples, images.limit), ahead=32):
            if prepared is not None:
                yield prepared.crop
