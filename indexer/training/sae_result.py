"""The files of a finished run: one SAE per layer in Scopeview's own format, its provenance and held-out
metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from indexer.training.sae_config import Plan, TrainRequest
from indexer.training.sae_state import Learner
from scopeview.cli.info import results_console
from scopeview.hub import Resolved
from scopeview.importers import native
from scopeview.sae.calibration import Calibration, measure
from scopeview.slots import Layer


@dataclass(frozen=True)
class TrainedRun:
    """The properties shared by all layers. `seconds` counts training alone, over all sessions."""

    request: TrainRequest
    plan: Plan
    model: Resolved
    model_sha256: str
    source: str
    n_not_finite: int
    seconds: float


def write_saes(
    out: Path, trained: TrainedRun, learners: Mapping[Layer, Learner], calibration: Calibration
) -> dict[str, Any]:
    """Writes `{layer}/cfg.json` and `sae.safetensors` of every layer; returns the run's result, for JSON.

    The metrics are those of `scopeview calibrate`, measured on the calibration images. `dead` is the share of
    features silent over the last `dead_after` training tokens, `silent` over the measured tokens alone.
    """
    layers: dict[str, Any] = {}
    for layer, learner in learners.items():
        sae = learner.sae.finished(learner.settings, calibration.statistics[layer])
        figures = asdict(measure(sae, calibration.sample[layer]))
        figures["silent"] = figures.pop("dead")
        figures["dead"] = len(learner.dead) / learner.settings.n_features
        layers[str(layer)] = figures
        native.save(sae, out / str(layer), _provenance(trained, learner, figures))
    return {"layers": layers, **_run(trained)}


def _provenance(trained: TrainedRun, learner: Learner, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": {
            "ref": trained.model.ref,
            "revision": trained.model.revision,
            "sha256": trained.model_sha256,
        },
        "training": {
            **_run(trained),
            "tokens": learner.n_tokens,
            "settings": asdict(learner.settings),
            "figures": dict(figures),
        },
    }


def _run(trained: TrainedRun) -> dict[str, Any]:
    plan = trained.plan
    return {
        "command": trained.request.command,
        "source": trained.source,
        "seed": plan.seed,
        "images": plan.n_images,
        "steps": plan.n_steps,
        "batch_size": plan.batch_size,
        "buffer_images": plan.buffer_images,
        "calibration_images": plan.calibration_images,
        "schedule": asdict(plan.schedule),
        "dtype": plan.dtype,
        "seconds": round(trained.seconds, 1),
        "not_finite": trained.n_not_finite,
    }


def print_result(out: Path, result: Mapping[str, Any]) -> None:
    """Prints one line per layer: how good its SAE is on images that it was not trained on."""
    table = Table(title=f"{out}: {result['images']:,} images")
    columns = {"explained_variance": ".3f", "mse": ".2f", "fvu": ".4f", "l0": ".1f", "dead": ".2%"}
    for heading in ("layer", *columns):
        table.add_column(heading.replace("_", " "), justify="right")
    for layer, figures in result["layers"].items():
        table.add_row(layer, *(format(figures[name], spec) for name, spec in columns.items()))
    results_console().print(table)
