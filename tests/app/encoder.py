"""Stand-ins for the encoder, so that uploads are tested without torch."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.engine.encoders import Crop, Vectors
from scopeview.analysis.decomposition import Decomposition, LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings, code_change
from scopeview.slots import EMBED, Layer
from tests.app.index import LAYERS, K

CROP_PX, N_TOKENS, PROJECTION = 128, 257, 32


@dataclass
class FakeEncoder:
    """Codes that depend on the mean colour alone, so that a test can work them out."""

    batches: list[int] = field(default_factory=list)
    logit_scale: float = 10.0
    gate: threading.Event | None = None  # holds `decompose` back until it is set

    def crop(self, image: Image.Image) -> Crop:
        assert image.mode == "RGB"
        return np.asarray(image.resize((CROP_PX, CROP_PX))).transpose(2, 0, 1)

    def decompose(
        self, crops: Crop, layers: Sequence[Layer] | None = None, *, embedding: bool = True
    ) -> list[Decomposition]:
        assert crops.shape[1:] == (3, CROP_PX, CROP_PX)
        assert crops.dtype == np.uint8
        self.batches.append(len(crops))
        if self.gate is not None:
            assert self.gate.wait(30), "the test never opened the gate"
        return [_decomposition(int(crop.mean()), layers or LAYERS, embedding) for crop in crops]

    def steer(self, crop: Crop, found: LayerDecomposition, edits: FeatureEdits) -> SteeredEmbeddings:
        """The sum of what is changed is added to dimension `feature`."""
        before = _embedding(int(crop.mean()))
        change = code_change(found, edits)
        after = before.copy()
        np.add.at(after, change.features % PROJECTION, change.difference.sum(axis=0))
        return SteeredEmbeddings(before, after)

    def directions(self, layer: Layer, features: Sequence[int]) -> Vectors:
        """Even and odd features point two ways."""
        assert layer in LAYERS
        return np.eye(2, dtype=np.float32)[np.asarray(features, np.int64) % 2]

    def norms(self, layer: Layer, features: Sequence[int]) -> Vectors:
        assert layer in LAYERS
        return _norms(np.asarray(features, np.int64))

    def facts(self) -> dict[str, Any]:
        return {"model": "a stand-in", "device": "none", "dtype": "float32", "layers": LAYERS, "n_bytes": 0}


def _decomposition(mean: int, layers: Sequence[Layer], embedding: bool) -> Decomposition:
    found = {layer: _layer(mean, 1 if layer == EMBED else N_TOKENS) for layer in layers}
    return Decomposition(found, _embedding(mean) if embedding else None)


def _embedding(mean: int) -> Vectors:
    return np.full(PROJECTION, 1 + mean / 255, np.float32)


def _norms(features: np.ndarray[Any, np.dtype[Any]]) -> Vectors:
    norms: Vectors = (1 + features / 4).astype(np.float32)
    return norms


def _layer(mean: int, n_tokens: int) -> LayerDecomposition:
    """Feature `mean + rank` fires at CLS (12 - rank) and at token 137 (a half more), and nowhere else."""
    features = np.tile((mean + np.arange(K)) % 6, (n_tokens, 1)).astype(np.int32)
    values = np.zeros((n_tokens, K), np.float32)
    values[0] = 12 - np.arange(K)
    values[137:138] = 12.5 - np.arange(K)
    figures = np.linspace(0.5, 1, n_tokens, dtype=np.float32)
    return LayerDecomposition(K, features, values, _norms(features), figures, 10 * figures)


def factory_of(encoder: FakeEncoder) -> Callable[[Path], FakeEncoder]:
    return lambda _: encoder
