"""The image encoder as the server uses it, and how it is loaded.

torch is imported only when an encoder is loaded. If one cannot be loaded, `EncoderAbsentError` gives the
reason in words for a visitor.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from app.engine.lazy_models import LazyModels, LoadFailure
from scopeview.analysis.decomposition import Decomposition, LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings
from scopeview.errors import ScopeviewError
from scopeview.slots import Layer

Crop = np.ndarray[Any, np.dtype[np.uint8]]
Vectors = np.ndarray[Any, np.dtype[np.float32]]


class EncoderProtocol(Protocol):
    """The part of `scopeview.vision.encoder.Encoder` that the server uses."""

    def crop(self, image: Image.Image) -> Crop:
        """Returns the square that the model sees: (3, height, width)."""

    def decompose(
        self, crops: Crop, layers: Sequence[Layer] | None = None, *, embedding: bool = True
    ) -> list[Decomposition]:
        """Decomposes (batch, 3, height, width) at every token of these layers; None means all layers."""

    def steer(self, crop: Crop, found: LayerDecomposition, edits: FeatureEdits) -> SteeredEmbeddings:
        """Returns one image's embedding without and with the edits; `found` is the image at their layer."""

    def directions(self, layer: Layer, features: Sequence[int]) -> Vectors:
        """Returns the decoder rows of some features: (feature, d_in)."""

    def norms(self, layer: Layer, features: Sequence[int]) -> Vectors:
        """Returns the lengths of some features' decoder rows: (feature,)."""

    @property
    def logit_scale(self) -> float:
        """The factor by which the model multiplies cosines. Raises `ModelError` if the model states none."""

    def facts(self) -> dict[str, Any]:
        """Returns what is loaded, and where: the fields of `app.health.LoadedEncoder`."""


EncoderFactory = Callable[[Path], EncoderProtocol]
"""Loads the encoder of an index folder. Raises `ScopeviewError` or `ImportError` if it cannot."""


def lazy_encoders(factory: EncoderFactory | None) -> LazyModels[EncoderProtocol]:
    """Returns one encoder per index folder, loaded when needed; `factory` None: models are switched off."""
    return LazyModels(
        factory,
        name="encoder",
        explain=_load_failure,
    )


def _load_failure(error: Exception) -> LoadFailure:
    if isinstance(error, ScopeviewError):
        return LoadFailure("the model or SAE files of this index are missing or unusable")
    return LoadFailure("the model could not be loaded")


def scopeview_encoders(device: str) -> EncoderFactory | None:
    """Returns the factory of the real encoders; None for the device `off`."""
    if device == "off":
        return None

    def load(index_dir: Path) -> EncoderProtocol:
        from scopeview.model_spec import load_encoder

        encoder: EncoderProtocol = load_encoder(index_dir, device=device)
        return encoder

    return load
