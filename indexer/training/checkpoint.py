"""The folder of one training run: its configuration, its latest checkpoint, its result.

Every file is written aside and renamed into place, so that kill -9 at any moment leaves either the old
checkpoint or the new one. Knows files, not what is trained.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scopeview.errors import ConfigMismatchError, InputError
from scopeview.store.files import LOCK, atomic_write, write_json

CONFIG = "training.json"
CHECKPOINT = "checkpoint.pt"
RESULT = "result.json"
LOG = "log.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run. Hold `indexer.run_config.locked(path)` while using it: one run at a time."""

    path: Path

    @property
    def log(self) -> Path:
        return self.path / LOG

    def begin(self, config: Mapping[str, object]) -> None:
        """Starts or resumes a run of this configuration here; from then on the folder belongs to it.

        `config` holds what affects the result, as JSON. Raises `ConfigMismatchError` naming the first field
        that differs from the run that started in the folder, and `InputError` if the folder holds something
        else.
        """
        path, now = self.path / CONFIG, json.loads(json.dumps(config))
        if path.exists() and self._has_trained():
            check_same(path, _read_json(path), now)
        elif not path.exists() and (strangers := self._unknown_files()):
            raise InputError(
                f"{self.path} is not empty and holds no training run (found {strangers}); "
                "choose another --out"
            )
        else:
            write_json(path, now)

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The latest checkpoint, or None. Raises `InputError` if it cannot be read."""
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path} cannot be read ({str(error).splitlines()[0]}); remove it to begin again"
            ) from None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replaces the checkpoint. `state` is nested dicts and lists of tensors, numbers and strings."""
        with atomic_write(self.path / CHECKPOINT) as part:
            torch.save(dict(state), part)

    def result(self) -> dict[str, Any] | None:
        """The result that `finish` wrote; None while the run is unfinished."""
        path = self.path / RESULT
        return _read_json(path) if path.exists() else None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Marks the run as done and removes the checkpoint, which is no longer needed."""
        write_json(self.path / RESULT, dict(result))
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def _has_trained(self) -> bool:
        """True if there is anything to resume; a run that was refused at its calibration leaves nothing."""
        return (self.path / CHECKPOINT).exists() or (self.path / RESULT).exists()

    def _unknown_files(self) -> str:
        mine = (LOCK, f"{CONFIG}.part")
        if not self.path.is_dir():
            return ""
        return ", ".join(sorted(path.name for path in self.path.iterdir() if path.name not in mine)[:3])


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises `ConfigMismatchError` naming the first field in which two configurations differ."""
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ConfigMismatchError(
                f"{path}: this run was begun with another {name}: then {before.get(name)!r}, now "
                f"{now.get(name)!r}; choose another --out, or remove the folder to begin again"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not the record of a training run ({error}); choose another --out, "
            "or remove the folder"
        ) from None
