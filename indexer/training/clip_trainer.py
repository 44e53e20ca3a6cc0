"""`scopeview train-clip`: a small CLIP learns the procedural world from scenes drawn on the fly.

A stopped or killed run resumes from its checkpoint and ends with the same weights, bit for bit, on the same
machine with as many threads: scenes, windows and learning rates are functions of the step alone.
"""

import hashlib
import math
import os
import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPModel

from indexer.run_config import locked
from indexer.training.checkpoint import RunFolder
from indexer.training.clip_batches import SceneBatch, stream, training_world
from indexer.training.clip_concepts import Heads
from indexer.training.clip_config import ClipRequest, ClipSettings, check_settings
from indexer.training.clip_loss import contrast, mean_by_region, region_contrast
from indexer.training.clip_model import embed_images, embed_texts, new_clip, save_clip
from indexer.training.log import TrainingLog, training_log
from indexer.world import make_scene
from scopeview.errors import ScopeviewError
from scopeview.model_spec import Dtype, pick_device, pick_dtype
from scopeview.progress import Task, task
from scopeview.signals import pausable
from scopeview.vision import weights

_MAX_LOGIT_SCALE = math.log(100)
_BETAS = (0.9, 0.98)
_MOMENTUM = 0.95


def train_clip(request: ClipRequest) -> dict[str, Any]:
    """Trains a CLIP; returns the content of `result.json`. A finished run is found and not repeated.

    The model's files lie beside it in `request.out`. Raises an `InputError` for invalid settings,
    `ConfigMismatchError` if the folder's run has other settings, `KeyboardInterrupt` once paused and saved.
    """
    settings = request.settings
    check_settings(settings)
    device = torch.device(pick_device(request.device))
    dtype = _pick_dtype(request, device)
    with locked(request.out):
        run = RunFolder(request.out)
        run.begin({**asdict(settings), "dtype": dtype, "world": _world_digest(settings)})
        return run.result() or _Training(request, run, device, dtype).run()


def _pick_dtype(request: ClipRequest, device: torch.device) -> Dtype:
    """Resolves `auto` to bfloat16 if the device multiplies it faster, as many CPUs do."""
    if request.dtype == "auto" and device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "bfloat16"
    return pick_dtype(request.dtype, device.type)


def _world_digest(settings: ClipSettings) -> str:
    """A digest of the first scenes, so that a run cannot resume in a world that is drawn differently."""
    digest = hashlib.sha256()
    for number in range(4):
        scene = make_scene(training_world(settings.seed), number)
        digest.update(scene.image.tobytes() + scene.caption.encode())
    return digest.hexdigest()[:16]


class _Training:
    """The state of a run in progress."""

    def __init__(self, request: ClipRequest, run: RunFolder, device: torch.device, dtype: Dtype) -> None:
        self._request, self._settings, self._run = request, request.settings, run
        self._device, self._dtype = device, dtype
        self._model = _to_training_device(new_clip(request.settings), device)
        if device.type == "cpu":
            # On CPUs the backward pass of the fused attention costs more than all the rest of the model.
            self._model.set_attn_implementation("eager")
        self._heads = Heads(request.settings).to(device)
        self._learning = torch.nn.ModuleDict({"clip": self._model, "heads": self._heads})
        self._optimizers = _optimizers(self._learning, request.settings)
        self._seconds, self._last = 0.0, dict[str, float]()

    def run(self) -> dict[str, Any]:
        first_step = self._resume()
        self._train(first_step)
        save_clip(self._run.path, self._model)
        result = {
            "command": self._request.command,
            "settings": asdict(self._settings),
            "dtype": self._dtype,
            "n_parameters": sum(parameter.numel() for parameter in self._model.parameters()),
            "n_images": self._settings.n_steps * self._settings.batch_size,
            "seconds": round(self._seconds, 1),
            **self._last,
            "sha256": weights.sha256_of(weights.weight_files(self._run.path)),
        }
        self._run.finish(result)
        return result

    def _train(self, first_step: int) -> None:
        settings, before, started = self._settings, self._seconds, time.monotonic()
        size = settings.batch_size
        with (
            pausable() as asked,
            training_log(self._run.log, first_step=first_step) as log,
            task("train", settings.n_steps * size, "images", done=first_step * size) as progress,
        ):
            batches = stream(settings, first_step, _n_workers(self._request.workers))
            for step, batch in enumerate(batches, first_step):
                found = self._step(batch, step)
                progress.advance(size)
                self._seconds = before + time.monotonic() - started
                is_last = step + 1 == settings.n_steps
                if is_last or (step + 1) % self._request.log_every == 0:
                    rate = (step + 1 - first_step) * size / (self._seconds - before)
                    self._report(step, found, rate, log, progress)
                if asked() or is_last or (step + 1) % self._request.checkpoint_every == 0:
                    self._save(step + 1)
                if asked() and not is_last:
                    raise KeyboardInterrupt

    def _step(self, batch: SceneBatch, step: int) -> "_BatchLoss":
        batch = SceneBatch(*(part.to(self._device, non_blocking=True) for part in batch))
        found = self._losses(batch, with_texts=self._settings.has_texts(step))
        self._learning.zero_grad(set_to_none=True)
        found.loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learning.parameters(), self._settings.max_gradient_norm)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * self._settings.schedule.at(step)
            optimizer.step()
        with torch.no_grad():
            self._model.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)
        return found

    def _losses(self, batch: SceneBatch, *, with_texts: bool) -> "_BatchLoss":
        with self._autocast():
            seen = embed_images(self._model, batch.pixels, batch.patches)
        shown = batch.region_of_patch >= 0
        regions = batch.region_of_patch[shown]
        naming, named = self._heads.concept_loss(seen.images, batch.concepts)
        by_patch = self._heads.patch_loss(seen.residual[shown], batch.region_subjects[regions])
        found = _BatchLoss(self._settings.concepts * naming + self._settings.subjects * by_patch, named)
        return (
            self._with_texts(found, seen.images, seen.patches[shown], regions, batch) if with_texts else found
        )

    def _with_texts(
        self, found: "_BatchLoss", images: Tensor, patches: Tensor, regions: Tensor, batch: SceneBatch
    ) -> "_BatchLoss":
        """Adds the contrasts of images and captions, and of patches and the names of their content."""
        with self._autocast():
            texts, names = (embed_texts(self._model, words) for words in (batch.words, batch.region_words))
        scale = self._model.logit_scale.exp()
        whole = contrast(images, texts, scale, batch.also_true)
        by_name = region_contrast(patches, regions, names, scale, batch.region_also_true)
        of_regions = self._settings.regions * mean_by_region(by_name, regions)
        return _BatchLoss(found.loss + whole.loss + of_regions, found.named, whole.accuracy)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._dtype == "bfloat16")

    def _report(self, step: int, found: "_BatchLoss", rate: float, log: TrainingLog, progress: Task) -> None:
        loss = found.loss.item()
        if not math.isfinite(loss):
            raise ScopeviewError(
                f"the loss is {loss} at step {step}: training diverged; begin again with a smaller --lr"
            )
        self._last = {"loss": round(loss, 4), "named": round(found.named.item(), 4)}
        if found.accuracy is not None:
            self._last["accuracy"] = round(found.accuracy.item(), 4)
        scale = self._model.logit_scale.exp().item()
        lr = self._settings.lr * self._settings.schedule.at(step)
        log.write(step, {**self._last, "lr": lr, "logit_scale": scale, "images_per_s": round(rate, 1)})
        shown = {name: f"{value:.3f}" for name, value in self._last.items()}
        progress.note({**shown, "images/s": f"{rate:.1f}"})

    def _save(self, step: int) -> None:
        self._run.save(
            {
                "step": step,
                "seconds": self._seconds,
                "last": self._last,
                "model": self._learning.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            }
        )

    def _resume(self) -> int:
        """Loads the checkpoint, if any; returns the next step."""
        state = self._run.load(self._device)
        if state is None:
            return 0
        self._learning.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._seconds, self._last = state["seconds"], state["last"]
        return int(state["step"])


class _BatchLoss(NamedTuple):
    """The losses of one batch."""

    loss: Float[Tensor, ""]
    named: Float[Tensor, ""]
    """Share of the images for which the most likely concept is true."""
    accuracy: Float[Tensor, ""] | None = None
    """Share of the images whose own caption is nearer than every wrong one; None without texts."""


def _to_training_device(model: Any, device: torch.device) -> CLIPModel:
    """Moves the model to the device, in training mode."""
    placed: CLIPModel = model.to(device).train()
    return placed


def _optimizers(model: torch.nn.Module, settings: ClipSettings) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices of the blocks of both encoders; AdamW, without decay, for all other weights."""
    in_blocks: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (in_blocks if ".layers." in name and parameter.ndim == 2 else others).append(parameter)
    matrices = [{"params": in_blocks, "peak": settings.matrix_lr}]
    rest = [{"params": others, "peak": settings.lr}]
    return (
        torch.optim.Muon(
            matrices, lr=settings.matrix_lr, momentum=_MOMENTUM, weight_decay=settings.weight_decay
        ),
        torch.optim.AdamW(rest, lr=settings.lr, betas=_BETAS, weight_decay=0.0, fused=True),
    )


def _n_workers(asked: int | None) -> int:
    """The number of workers to start; one draws about 800 scenes a second."""
    return min(8, max(1, (os.cpu_count() or 1) // 2)) if asked is None else asked
