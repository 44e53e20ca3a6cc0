"""The models of `bench agreement`: one that was trained, or ViT-L/14's shape with random weights."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.agreement import by_layer, compare, report
from bench.encode import LAYERS, shared_saes
from bench.weights import D_IN, N_FEATURES, K, write_vit_l_14
from indexer.calibrate import CalibrationSet, run_calibration
from indexer.sources import open_source
from scopeview.model_spec import plan_recipe
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder

_CALIBRATION_IMAGES = 64


def of_model(model: Path, sae: Path, sources: Sequence[Path], limit: int | None) -> None:
    """Compares a trained model. Its SAEs use the same statistics, from float32, in both precisions."""
    recipe = plan_recipe(str(model), str(sae), tokens=["cls", "137"])
    exact = recipe.load_clip(device="cpu", dtype="float32")
    images = CalibrationSet(open_source(sources[-1]), _CALIBRATION_IMAGES)
    stats = run_calibration(images, recipe, exact, batch_size=8).statistics
    saes = recipe.normalized(recipe.load_saes(), stats, "cpu")
    rough = recipe.load_clip(device="cpu", dtype="bfloat16")
    exact_encoder, rough_encoder = (Encoder(clip, saes, ["cls", "137"]) for clip in (exact, rough))
    found = compare(exact_encoder, rough_encoder, sources, limit)
    report(f"agreement-{model.name}", by_layer(found), f"{model.name}: bfloat16 beside float32")


def full_size(sources: Sequence[Path], limit: int | None) -> None:
    """Checks the plumbing at full size with random weights. `--model` shows the effect on trained ones."""
    with tempfile.TemporaryDirectory() as folder:
        model = str(write_vit_l_14(Path(folder) / "model"))
        saes = shared_saes(LAYERS, d_in=D_IN, n_features=N_FEATURES, k=K, device="cpu")
        exact, rough = (Clip.load(model, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
        exact_encoder, rough_encoder = (Encoder(clip, saes, ["cls", "137"]) for clip in (exact, rough))
        found = compare(exact_encoder, rough_encoder, sources, limit)
    report("agreement-vit-l-14", by_layer(found), "ViT-L/14, random weights: bfloat16 beside float32")
