"""The settings of a CLIP training run and their checks. Knows only numbers."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from indexer.training.schedule import Schedule
from scopeview.errors import InputError
from scopeview.model_spec import Dtype

IMAGE_PX, PATCH_PX = 128, 8
GRID = IMAGE_PX // PATCH_PX
TEXT_TOKENS = 48

_COUNTS = (
    "n_images",
    "width",
    "blocks",
    "heads",
    "text_width",
    "text_blocks",
    "text_heads",
    "projection",
    "whole_every",
)
_SHARES = ("warmup", "hold", "texts_from", "whole_end", "hard_negatives", "brief_captions")
_WEIGHTS = ("regions", "concepts", "subjects")
_RATES = ("lr", "matrix_lr")
_OPTIONS = {
    "n_images": "images",
    "matrix_lr": "muon-lr",
    "hold": "plateau",
    "whole_every": "full-scene-every",
    "whole_end": "full-scene-tail",
    "texts_from": "head-only-fraction",
}
"""Options whose names differ from their fields. Fields keep the names in existing records of runs."""

_FIRST_LOGIT_SCALE = 3.2189  # log(1 / 0.04); CLIP's own 1 / 0.07 takes longer to grow than a short run has


@dataclass(frozen=True)
class ClipSettings:
    """Every setting that affects the result. Shares are fractions of 1."""

    n_images: int = 200_000
    width: int = 192
    blocks: int = 8
    heads: int = 6
    text_width: int = 128
    text_blocks: int = 3
    text_heads: int = 4
    projection: int = 128
    batch_size: int = 128
    lr: float = 5e-4
    """The peak learning rate of everything but the blocks' matrices."""
    matrix_lr: float = 0.01
    """The peak learning rate of the blocks' matrices, which Muon trains."""
    warmup: float = 0.02
    hold: float = 0.7
    """Share of the steps after which the learning rates begin to fall."""
    weight_decay: float = 0.05
    window: int = 8
    """Patches per side of the window that most steps see of a scene with one thing: a quarter of the cost."""
    whole_every: int = 8
    """Every N-th step trains on full scenes with any number of objects; so do the last steps."""
    whole_end: float = 0.1
    """Share of the steps, at the end, that all see full scenes."""
    texts_from: float = 0.4
    """Share of the steps, at the start, in which the vision tower learns from the heads alone. The contrast
    teaches mainly what tells captions apart, above all colours, and delays the learning of shapes."""
    regions: float = 0.5
    """Weight of the contrast between patches and the names of their content, beside images and captions."""
    concepts: float = 1.0
    """Weight of naming the concepts of images by a linear head, which is no part of the model."""
    subjects: float = 1.0
    """Weight of naming what patches are a part of: the kind of a thing, or of the background."""
    hard_negatives: float = 0.2
    """Share of a batch in groups of scenes that differ only in the kind or the colour of one thing."""
    brief_captions: float = 0.15
    """Share of the captions that name only one thing about their scene, like searches do."""
    max_gradient_norm: float = 1.0
    seed: int = 0

    @property
    def n_steps(self) -> int:
        return -(-self.n_images // self.batch_size)

    def is_full_scene(self, step: int) -> bool:
        """True if the step sees whole scenes rather than a window of each."""
        n_last = round(self.whole_end * self.n_steps)
        is_last = step >= self.n_steps - n_last
        return is_last or step % self.whole_every == self.whole_every - 1 or self.window == GRID

    def has_texts(self, step: int) -> bool:
        return step >= round(self.texts_from * self.n_steps)

    @property
    def first_logit_scale(self) -> float:
        return _FIRST_LOGIT_SCALE

    @property
    def schedule(self) -> Schedule:
        """The schedule of both learning rates, as a fraction of their peaks."""
        warmup, hold = (round(share * self.n_steps) for share in (self.warmup, self.hold))
        return Schedule(1.0, self.n_steps, warmup, "linear", hold_steps=max(0, hold - warmup))


@dataclass(frozen=True)
class ClipRequest:
    """The command's options. `workers` None: as many as are useful on this machine."""

    out: Path
    settings: ClipSettings
    device: str = "auto"
    dtype: Dtype | Literal["auto"] = "auto"
    workers: int | None = None
    checkpoint_every: int = 50
    log_every: int = 10
    command: str = "scopeview train-clip"


def check_settings(settings: ClipSettings) -> None:
    """Raises `InputError` naming the first invalid value and the values accepted."""
    values: dict[str, Any] = asdict(settings)
    for name in _COUNTS:
        _check(name, values[name], values[name] >= 1, "a whole number above 0")
    for name in _SHARES:
        _check(name, values[name], 0 <= values[name] <= 1, "a share from 0 to 1")
    batch_size = settings.batch_size
    _check("batch_size", batch_size, batch_size >= 2, "2 or more: each image is told from the others")
    _check("window", settings.window, 1 <= settings.window <= GRID, f"1 to {GRID} patches a side")
    for name in _WEIGHTS:
        _check(name, values[name], 0 <= values[name] <= 100, "a weight from 0 to 100")
    for name in _RATES:
        _check(name, values[name], 0 < values[name] < 1, "above 0 and below 1")
    _check_divides("width", settings.width, "heads", settings.heads)
    _check_divides("text width", settings.text_width, "text heads", settings.text_heads)


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        option = _OPTIONS.get(name, name.replace("_", "-"))
        raise InputError(f"--{option} is {value}; expected {wanted}")


def _check_divides(what: str, width: int, whose: str, heads: int) -> None:
    if width % heads:
        lower = width - width % heads
        near = " or ".join(str(found) for found in (lower, lower + heads) if found)
        raise InputError(f"a {what} of {width} does not divide among {heads} {whose}; {near} would")
