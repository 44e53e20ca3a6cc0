"""Stand-ins for the encoder, so that uploads are tested without torch."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.worker import Crop
from scopeview.apart import Apart, LayerApart
from scopeview.slots import EMBED, Layer
from tests.app.index import LAYERS, K

CROP_PX, N_TOKENS, PROJECTION = 128, 257, 32


@dataclass
class FakeEncoder:
    """Codes that depend on the mean colour alone, so that a test can work them out."""

    batches: list[int] = field(default_factory=list)
    gate: threading.Event | None = None  # holds `apart` back until it is set

    def crop(self, image: Image.Image) -> Crop:
        assert image.mode == "RGB"
        return np.asarray(image.resize((CROP_PX, CROP_PX))).transpose(2, 0, 1)

    def apart(
        self, crops: Crop, layers: Sequence[Layer] | None = None, *, embedding: bool = True
    ) -> list[Apart]:
        assert crops.shape[1:] == (3, CROP_PX, CROP_PX)
        assert crops.dtype == np.uint8
        self.batches.append(len(crops))
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"
        return [_apart(int(crop.mean()), layers or LAYERS, embedding) for crop in crops]

    def facts(self) -> dict[str, Any]:
        return {"model": "a stand-in", "device": "none", "dtype": "float32", "layers": LAYERS, "n_bytes": 0}


def _apart(mean: int, layers: Sequence[Layer], embedding: bool) -> Apart:
    found = {layer: _layer(mean, 1 if layer == EMBED else N_TOKENS) for layer in layers}
    return Apart(found, np.full(PROJECTION, mean / 255, np.float32) if embedding else None)


def _layer(mean: int, n_tokens: int) -> LayerApart:
    """Feature `mean + rank` fires at CLS (12 - rank) and at token 137 (a half more), and nowhere else."""
    features = np.tile((mean + np.arange(K)) % 6, (n_tokens, 1)).astype(np.int32)
    values = np.zeros((n_tokens, K), np.float32)
    values[0] = 12 - np.arange(K)
    values[137:138] = 12.5 - np.arange(K)
    figures = np.linspace(0.5, 1, n_tokens, dtype=np.float32)
    return LayerApart(K, features, values, (1 + features / 4).astype(np.float32), figures, 10 * figures)


def factory_of(encoder: FakeEncoder) -> Callable[[Path], FakeEncoder]:
    return lambda _: encoder
