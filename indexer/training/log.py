"""The metrics of a training run: JSON lines always, TensorBoard if it is installed.

Knows names and numbers. A resumed run continues the same file: lines past the checkpoint are dropped first,
so that each step occurs once.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scopeview.store.files import atomic_write


class TrainingLog:
    """Writes one line per step: `{"step": 100, "lr": 0.001, "loss": 0.2, ...}`; values may be nested."""

    def __init__(self, path: Path, first_step: int, tensorboard: Any) -> None:
        _drop_from(path, first_step)
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = tensorboard

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """Raises `ValueError` for NaN and infinities: a diverged run must not look like a number."""
        self._file.write(json.dumps({"step": step, **figures}, allow_nan=False) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in _scalars(figures):
                self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


@contextmanager
def training_log(path: Path, *, first_step: int) -> Iterator[TrainingLog]:
    """Opens the log to append steps from `first_step` on; events go to `tensorboard/` beside the file."""
    log = TrainingLog(path, first_step, _tensorboard(path.with_name("tensorboard"), first_step))
    try:
        yield log
    finally:
        log.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Reads every complete line; one that a kill cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _tensorboard(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step)


def _drop_from(path: Path, first_step: int) -> None:
    if not path.exists():
        return
    kept = [line for line in read_log(path) if line["step"] < first_step]
    with atomic_write(path) as part:
        part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def _scalars(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Flattens nested values: `{"layers": {"5": {"loss": 1}}}` -> `("layers/5/loss", 1)`."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
