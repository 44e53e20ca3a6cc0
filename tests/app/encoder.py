"""Stand-ins for the encoder, so that uploads are tested without torch."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from app.worker import Crop
from scopeview.slots import slots_of
from scopeview.store.records import ActiveFeature, Code
from tests.app.index import LAYERS, TOKENS, K

CROP_PX = 128


@dataclass
class FakeEncoder:
    """Codes that depend on the mean colour alone, so that a test can work them out."""

    batches: list[int] = field(default_factory=list)
    gate: threading.Event | None = None  # holds `codes` back until it is set

    def crop(self, image: Image.Image) -> Crop:
        assert image.mode == "RGB"
        return np.asarray(image.resize((CROP_PX, CROP_PX))).transpose(2, 0, 1)

    def codes(self, crops: Crop) -> list[list[Code]]:
        assert crops.shape[1:] == (3, CROP_PX, CROP_PX)
        assert crops.dtype == np.uint8
        self.batches.append(len(crops))
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"
        return [_codes(int(crop.mean())) for crop in crops]


def _codes(mean: int) -> list[Code]:
    return [
        Code(slot.layer, slot.token, K, [_pair(mean, rank, slot.token) for rank in range(K)])
        for slot in slots_of(LAYERS, TOKENS)
    ]


def _pair(mean: int, rank: int, token: str) -> ActiveFeature:
    return ActiveFeature((mean + rank) % 6, 12.5 - rank, 137 if token == "any" else None)


def factory_of(encoder: FakeEncoder) -> Callable[[Path], FakeEncoder]:
    return lambda _: encoder
