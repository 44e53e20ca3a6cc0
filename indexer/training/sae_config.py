"""The configuration of an SAE training run, checked and with all defaults filled in.

Knows numbers and names; the model, the images and the arithmetic are elsewhere.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from indexer.training.schedule import Decay, Schedule
from scopeview.errors import InputError
from scopeview.model_spec import Dtype
from scopeview.sae.forms import Architecture
from scopeview.slots import EMBED, Layer

MAX_DEAD_AFTER = 10_000_000
"""Tokens without an activation after which a long run counts a feature as dead, as CLIP-Scope does."""

Start = Literal["random", "tokens"]
"""Initial directions of features: random, or those of tokens drawn from the first buffer.

In the last block of the demo's CLIP, whose tokens form clusters, 60 % of random features died; of those
initialized from tokens hardly any did, and most matched one concept. In the blocks before it, random ones
reconstructed better (explained variance .90 against .87 in block 1).
"""

_MAX_BUFFER_BYTES = {"cpu": 1024**3, "cuda": 8 * 1024**3}
_MAX_BUFFER_BATCHES = 64


@dataclass(frozen=True)
class TrainRequest:
    """The command's options. `source` is a path or `world:SEED`; None stands for a default."""

    source: str
    model: str
    layers: tuple[Layer, ...]
    out: Path
    n_features: int
    architecture: Architecture = "topk"
    k: int | None = None
    l1: float | None = None
    n_images: int | None = None
    n_steps: int | None = None
    batch_size: int | None = None
    buffer_images: int | None = None
    repeat: bool = False
    lr: float | None = None
    decay: Decay = "linear"
    warmup_steps: int | None = None
    dead_after: int | None = None
    aux_k: int | None = None
    aux_weight: float = 1 / 32
    start: Start = "random"
    calibration_images: int = 512
    seed: int = 0
    device: str = "auto"
    dtype: Dtype | Literal["auto"] = "auto"
    checkpoint_every: int = 500
    log_every: int = 50
    command: str = "scopeview train-sae"


@dataclass(frozen=True)
class SaeSettings:
    """The settings of one layer's SAE and its training, equal for all layers except `d_in` and `dead_after`.

    `dead_after` counts the layer's own tokens (for `embed`, its vectors). At most `aux_k` dead features learn
    to reconstruct what a token's live features missed; with 0, dead features are not trained.
    """

    layer: Layer
    d_in: int
    n_features: int
    architecture: Architecture
    k: int | None
    l1: float
    dead_after: int
    aux_k: int
    aux_weight: float
    start: Start = "random"
    max_gradient_norm: float = 1.0


@dataclass(frozen=True)
class Plan:
    """The numbers of a run. A step takes the tokens of `batch_size` images, shuffled over `buffer_images`."""

    batch_size: int
    n_steps: int
    buffer_images: int
    calibration_images: int
    schedule: Schedule
    seed: int
    dtype: Dtype
    saes: tuple[SaeSettings, ...]

    @property
    def n_images(self) -> int:
        return self.n_steps * self.batch_size

    @property
    def buffer_steps(self) -> int:
        return self.buffer_images // self.batch_size

    @property
    def layers(self) -> list[Layer]:
        return [sae.layer for sae in self.saes]

    def as_json(self) -> dict[str, Any]:
        """The fields that two runs must share to be the same run."""
        return asdict(self)


def check_request(request: TrainRequest) -> None:
    """Checks everything that does not need the model. Raises `InputError` naming the invalid value."""
    _check_architecture(request)
    if not request.layers:
        raise InputError("--layers names none; expected such as 1,3,5,embed")
    if (request.n_images is None) == (request.n_steps is None):
        raise InputError("give either --images or --steps: how long to train")
    _check_at_least(request, n_features=2, n_images=1, n_steps=1, batch_size=1, warmup_steps=0)
    _check_at_least(request, calibration_images=1, dead_after=1, aux_k=0, aux_weight=0, l1=0)
    if request.lr is not None and not 0 < request.lr < 1:
        raise InputError(f"--lr {request.lr} is not between 0 and 1")


def make_plan(
    request: TrainRequest, *, widths: Mapping[Layer, int], n_tokens: int, dtype: Dtype, on_gpu: bool
) -> Plan:
    """Fills in the defaults. `widths` are the layers' d_in; `n_tokens` is the number of tokens per image."""
    batch_size = request.batch_size or (64 if on_gpu else 16)
    n_steps = request.n_steps or (request.n_images or 0) // batch_size
    if n_steps == 0:
        raise InputError(f"--images {request.n_images} is less than one batch of {batch_size} images")
    warmup = min(500, n_steps // 20) if request.warmup_steps is None else request.warmup_steps
    if warmup >= n_steps:
        raise InputError(f"--warmup {warmup} takes all of the {n_steps} steps; expected fewer")
    lr = request.lr or default_lr(request.n_features)
    image_bytes = n_tokens * sum(widths.values()) * (2 if dtype == "bfloat16" else 4)
    return Plan(
        batch_size=batch_size,
        n_steps=n_steps,
        buffer_images=_buffer_images(
            request, batch_size, image_bytes, _MAX_BUFFER_BYTES["cuda" if on_gpu else "cpu"]
        ),
        calibration_images=request.calibration_images,
        schedule=Schedule(lr, n_steps, warmup, request.decay),
        seed=request.seed,
        dtype=dtype,
        saes=tuple(
            _settings(request, layer, d_in, n_steps * tokens_a_step(layer, batch_size, n_tokens))
            for layer, d_in in widths.items()
        ),
    )


def default_lr(n_features: int) -> float:
    """The default learning rate: falls with the root of the width (Gao et al., 2024); 2e-4 at 16,384."""
    return 2e-4 * math.sqrt(16_384 / n_features)


EMBED_BATCH = 1024


def tokens_a_step(layer: Layer, batch_size: int, n_tokens: int) -> int:
    """Tokens per step: `n_tokens` per image at a block. `embed`, with one per image, draws from memory."""
    return max(EMBED_BATCH, batch_size) if layer == EMBED else batch_size * n_tokens


def _settings(request: TrainRequest, layer: Layer, d_in: int, n_seen: int) -> SaeSettings:
    aux_k = d_in // 2 if request.aux_k is None else request.aux_k
    return SaeSettings(
        layer=layer,
        d_in=d_in,
        n_features=request.n_features,
        architecture=request.architecture,
        k=request.k,
        l1=request.l1 or 0.0,
        dead_after=request.dead_after or max(1, min(MAX_DEAD_AFTER, n_seen // 10)),
        aux_k=min(aux_k, request.n_features),
        aux_weight=request.aux_weight,
        start=request.start,
    )


def _buffer_images(request: TrainRequest, batch_size: int, image_bytes: int, max_bytes: int) -> int:
    chosen = request.buffer_images
    if chosen is None:
        fitting = max_bytes // (image_bytes * batch_size)
        return batch_size * max(1, min(_MAX_BUFFER_BATCHES, fitting))
    if chosen < 1 or chosen % batch_size:
        raise InputError(f"--buffer-images {chosen} is not a multiple of the batch of {batch_size} images")
    return chosen


def _check_architecture(request: TrainRequest) -> None:
    if request.architecture == "topk":
        if request.l1 is not None:
            raise InputError("--l1 is for --architecture relu; a TopK SAE is as sparse as --k says")
        if request.k is None or not 1 <= request.k < request.n_features:
            raise InputError(
                f"--k {request.k} does not make sense with {request.n_features} features; "
                f"expected from 1 to {request.n_features - 1}"
            )
    elif request.k is not None or request.l1 is None:
        raise InputError("--architecture relu takes --l1 (how sparse) and no --k")


_OPTIONS = {
    "n_features": "features",
    "n_images": "images",
    "n_steps": "steps",
    "warmup_steps": "warmup",
    "dead_after": "dead-after-tokens",
}


def _check_at_least(request: TrainRequest, **least: int) -> None:
    for name, minimum in least.items():
        value = getattr(request, name)
        if value is not None and not value >= minimum:
            option = _OPTIONS.get(name, name).replace("_", "-")
            raise InputError(f"--{option} {value} is too small; expected at least {minimum}")
