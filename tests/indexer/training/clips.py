"""Runs of `train-clip` so small that a test can wait for them."""

from pathlib import Path
from typing import Any

from indexer.training.clip_config import ClipRequest, ClipSettings

BATCH_SIZE = 12


def tiny(n_steps: int = 6, **changes: Any) -> ClipSettings:
    settings: dict[str, Any] = {
        "n_images": n_steps * BATCH_SIZE,
        "batch_size": BATCH_SIZE,
        "width": 32,
        "blocks": 2,
        "heads": 2,
        "text_width": 32,
        "text_blocks": 1,
        "text_heads": 2,
        "projection": 16,
        "window": 7,
        "whole_every": 6,
        **changes,
    }
    return ClipSettings(**settings)


def request(out: Path, settings: ClipSettings, **changes: Any) -> ClipRequest:
    options: dict[str, Any] = {"workers": 0, "checkpoint_every": 2, "log_every": 1, **changes}
    return ClipRequest(out, settings, device="cpu", **options)
