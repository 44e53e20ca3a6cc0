"""`scopeview calibrate`: each SAE's reconstruction standardised and raw, beside the published metrics.

An SAE of another normalisation is measured with that first. This shows which one an SAE was trained with:
only the right one reconstructs its input.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.table import Table

from indexer.calibrate import CalibrationSet, run_calibration
from indexer.sources import SourceOptions, open_source
from scopeview.cli.info import results_console
from scopeview.importers import NOTHING_STATED, Stated
from scopeview.model_spec import Dtype, pick_batch_size, pick_device, pick_dtype, plan_recipe
from scopeview.progress import log_event
from scopeview.sae.calibration import NormalizationComparison, compare
from scopeview.slots import Layer


def compare_normalizations(
    source: Path | str,
    model: str,
    sae: str,
    *,
    layers: Sequence[Layer] | None,
    device: str,
    dtype: Dtype | Literal["auto"],
    n_images: int,
    batch_size: int | None,
    reading: SourceOptions | None = None,
    stated: Stated = NOTHING_STATED,
    force_model: bool = False,
) -> list[NormalizationComparison]:
    """Two or three comparisons per layer, as `compare` makes them. Raises as the indexer for wrong input."""
    images = CalibrationSet(open_source(source, options=reading), n_images)
    recipe = plan_recipe(model, sae, layers=layers, stated=stated, force_model=force_model)
    saes = recipe.load_saes()
    picked = pick_device(device)
    clip = recipe.load_clip(device=picked, dtype=pick_dtype(dtype, picked))
    for warning in recipe.warnings:
        log_event("warning", {"sae": warning})
    calibration = run_calibration(images, recipe, clip, batch_size=batch_size or pick_batch_size(picked))
    return [found for sae_on in saes.values() for found in compare(sae_on.to(clip.device), calibration)]


def print_comparisons(comparisons: Sequence[NormalizationComparison], *, as_json: bool) -> None:
    """Prints the comparisons to standard output, as a table or as JSON."""
    if as_json:
        print(json.dumps([asdict(found) for found in comparisons], indent=1))
        return
    table = Table(title=f"Reconstruction of {comparisons[0].figures.n_tokens:,} sampled tokens")
    for name in (
        "layer",
        "SAE",
        "normalization",
        "explained variance",
        "published",
        "MSE",
        "published",
        "L0",
    ):
        table.add_column(name, justify="left" if name in ("SAE", "normalization") else "right")
    for found in comparisons:
        ours, theirs = found.figures, found.published
        table.add_row(
            str(found.layer),
            found.sae,
            ours.normalization,
            f"{ours.explained_variance:.3f}",
            f"{theirs.explained_variance:.3f}" if theirs else "",
            f"{ours.mse:.2f}",
            f"{theirs.mse:.2f}" if theirs else "",
            f"{ours.l0:.1f}",
        )
    results_console().print(table)
