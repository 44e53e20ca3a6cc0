"""`scopeview train-sae`: sparse autoencoders on streamed activations, all layers in one pass over the images.

calibrate (mean and std of the first images, which are not trained on) -> train -> measure on those images ->
one folder per layer in Scopeview's own format. A stopped or killed run resumes from its checkpoint and ends
with the same weights, bit for bit, on the same kind of device.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from indexer.prepare import batched
from indexer.run_config import locked
from indexer.training.activations import Activations, EmbedMemory, StreamPosition
from indexer.training.checkpoint import RunFolder
from indexer.training.image_stream import ImageStream, open_stream
from indexer.training.log import TrainingLog, training_log
from indexer.training.sae_config import Plan, TrainRequest, check_request, make_plan
from indexer.training.sae_result import TrainedRun, write_saes
from indexer.training.sae_state import Learner, StepMetrics
from scopeview.errors import InputError, ScopeviewError
from scopeview.hub import Resolved
from scopeview.model_spec import DTYPES, pick_device, pick_dtype
from scopeview.progress import Task, task
from scopeview.sae.calibration import Calibration, calibrate
from scopeview.sae.normalization import Standardization
from scopeview.signals import pausable
from scopeview.slots import EMBED, Layer
from scopeview.vision import weights
from scopeview.vision.clip import Clip, check_layers, read_info, resolve_model
from scopeview.vision.preprocess import Preprocessing


def train_saes(request: TrainRequest) -> dict[str, Any]:
    """Trains the SAEs; returns the content of `result.json`. A finished run is found and not repeated.

    Raises an `InputError` for anything wrong with the request, if possible before loading any weight;
    `ConfigMismatchError` if the folder's run has another configuration; `KeyboardInterrupt` once paused and
    saved.
    """
    check_request(request)
    device = pick_device(request.device)
    info = read_info(resolve_model(request.model, with_weights=False))
    check_layers(info, request.layers)
    plan = make_plan(
        request,
        widths={layer: info.d_in(layer) for layer in request.layers},
        n_tokens=info.n_tokens,
        dtype=pick_dtype(request.dtype, device),
        on_gpu=device.startswith("cuda"),
    )
    model = resolve_model(request.model)
    stream = open_stream(request.source, Preprocessing.from_folder(model.path), ahead=plan.buffer_images)
    with locked(request.out):
        run = RunFolder(request.out)
        run.begin(_identity(request, plan, model, stream))
        return run.result() or _Training(request, plan, model, stream, run, device).run()


def _identity(request: TrainRequest, plan: Plan, model: Resolved, stream: ImageStream) -> dict[str, Any]:
    """Everything that affects the result, unlike the device and the folders."""
    return {
        **plan.as_json(),
        "source": stream.identity(),
        "model": weights.sha256_of(weights.weight_files(model.path)),
        "preprocessing": Preprocessing.from_folder(model.path).to_dict(),
        "repeat": request.repeat,
    }


class _Training:
    """The state of a run in progress."""

    def __init__(
        self,
        request: TrainRequest,
        plan: Plan,
        model: Resolved,
        stream: ImageStream,
        run: RunFolder,
        device: str,
    ) -> None:
        self._request, self._plan, self._model, self._stream, self._run = request, plan, model, stream, run
        self._device = torch.device(device)
        low_precision = plan.dtype == "bfloat16"
        self._learners = {
            sae.layer: Learner(sae, plan.seed, self._device, low_precision=low_precision) for sae in plan.saes
        }
        self._memory = {
            sae.layer: EmbedMemory(sae.d_in, plan.seed, self._device)
            for sae in plan.saes
            if sae.layer == EMBED
        }
        self._seconds = 0.0

    def run(self) -> dict[str, Any]:
        clip = Clip.load(self._model, device=str(self._device), dtype=DTYPES[self._plan.dtype])
        calibration, first_sample = self._calibrate(clip)
        place = self._resume(StreamPosition(0, first_sample))
        activations = Activations(self._plan, clip, calibration.statistics, self._device)
        self._train(activations, place, first_sample)
        trained = TrainedRun(
            request=self._request,
            plan=self._plan,
            model=self._model,
            model_sha256=clip.sha256,
            source=self._stream.ref,
            n_not_finite=activations.n_not_finite,
            seconds=self._seconds,
        )
        result = write_saes(self._run.path, trained, self._learners, calibration)
        self._run.finish(result)
        return result

    def _calibrate(self, clip: Clip) -> tuple[Calibration, int]:
        """Returns the calibration and the next sample. A resumed run repeats it, with the same result."""
        n_images, taken = self._plan.calibration_images, [0]
        with closing(self._stream.images(0)) as images, task("calibrate", n_images, "images") as progress:
            crops = (
                _record_position(image.crop, image.next_sample, taken) for image in islice(images, n_images)
            )
            found = calibrate(_pixels(crops, self._plan.batch_size, progress), clip, self._plan.layers)
        if found.n_images + found.n_skipped < n_images:
            raise InputError(
                f"{self._stream.ref} has {found.n_images} usable images; calibration alone takes {n_images}: "
                "give more images or a smaller --calibration-images"
            )
        check_varied(found.statistics)
        return found, taken[0]

    def _train(self, activations: Activations, place: StreamPosition, first_sample: int) -> None:
        repeat_from = first_sample if self._request.repeat else None
        started, before = time.monotonic(), self._seconds
        n_done, n_images = place.step * self._plan.batch_size, self._plan.n_images
        with (
            pausable() as asked,
            training_log(self._run.log, first_step=place.step) as log,
            task("train", n_images, "images", done=n_done) as progress,
        ):
            for batch in activations.batches(self._stream, place, repeat_from=repeat_from):
                step = batch.after.step - 1
                if step == 0:
                    self._begin(activations)
                self._step(batch.tokens, step, log, progress)
                progress.advance(self._plan.batch_size)
                self._seconds = before + time.monotonic() - started
                is_last = batch.after.step == self._plan.n_steps
                if asked() or is_last or batch.after.step % self._request.checkpoint_every == 0:
                    self._save(batch.after)
                if asked() and not is_last:
                    raise KeyboardInterrupt

    def _begin(self, activations: Activations) -> None:
        for layer, learner in self._learners.items():
            if learner.settings.start == "tokens":
                learner.sae.init_from_tokens(activations.sample_tokens(layer, learner.settings.n_features))

    def _step(self, tokens: Mapping[Layer, Tensor], step: int, log: TrainingLog, progress: Task) -> None:
        lr = self._plan.schedule.at(step)
        measured = (step + 1) % self._request.log_every == 0 or step + 1 == self._plan.n_steps
        figures: dict[Layer, StepMetrics] = {}
        for layer, x in tokens.items():
            drawn = self._memory[layer].draw(x, step) if layer in self._memory else x
            found = self._learners[layer].step(drawn, lr, measured=measured)
            if found is not None:
                figures[layer] = found
        if figures:
            _check_learning(step, figures)
            log.write(step, {"lr": lr, "layers": {str(at): asdict(found) for at, found in figures.items()}})
            progress.note({str(layer): _summary(found) for layer, found in figures.items()})

    def _save(self, place: StreamPosition) -> None:
        self._run.save(
            {
                "step": place.step,
                "sample": place.sample,
                "seconds": self._seconds,
                "learners": {str(layer): learner.state() for layer, learner in self._learners.items()},
                "memory": {str(layer): memory.state() for layer, memory in self._memory.items()},
            }
        )

    def _resume(self, start: StreamPosition) -> StreamPosition:
        state = self._run.load(self._device)
        if state is None:
            return start
        for layer, learner in self._learners.items():
            learner.load(state["learners"][str(layer)])
        for layer, memory in self._memory.items():
            memory.load(state["memory"][str(layer)])
        self._seconds = state["seconds"]
        return StreamPosition(state["step"], state["sample"])


def _check_learning(step: int, figures: Mapping[Layer, StepMetrics]) -> None:
    for layer, found in figures.items():
        if not all(np.isfinite(value) for value in asdict(found).values()):
            raise ScopeviewError(
                f"layer {layer} stopped learning at step {step}: its loss is {found.loss} and its gradient "
                f"{found.gradient_norm}; begin again with a smaller --lr"
            )


def _summary(found: StepMetrics) -> str:
    rebuilt = f"loss {found.loss:.4f} ev {found.explained_variance:.3f}"
    return f"{rebuilt} l0 {found.l0:.1f} dead {100 * found.dead:.1f}%"


def _pixels(
    crops: Iterator[UInt8[np.ndarray, "3 height width"]], batch_size: int, progress: Task
) -> Iterator[UInt8[Tensor, "batch 3 height width"]]:
    for batch in batched(crops, batch_size):
        progress.advance(len(batch))
        yield torch.from_numpy(np.stack(batch))


def _record_position(
    crop: UInt8[np.ndarray, "3 height width"], next_sample: int, taken: list[int]
) -> UInt8[np.ndarray, "3 height width"]:
    taken[0] = next_sample
    return crop


def check_varied(statistics: Mapping[Layer, Standardization]) -> None:
    """Raises `InputError` for a dimension that never varies: it cannot be divided by its deviation."""
    for layer, stats in statistics.items():
        constant = (~(stats.std > 0)).nonzero().flatten().tolist()
        if constant:
            raise InputError(
                f"{len(constant)} dimensions of layer {layer}, the first {constant[0]}, are the same on all "
                "calibration images: expected images that differ, or more of them (--calibration-images)"
            )
