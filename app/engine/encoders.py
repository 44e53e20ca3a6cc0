"""The encoders of the indexes served: what is asked of one, and how each is loaded, once, when needed.

torch is imported when an encoder is loaded, not before. Where one cannot be loaded, `EncoderAbsentError` says
why in words for a visitor.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from app.engine.errors import EncoderAbsentError
from scopeview.analysis.decomposition import Decomposition, LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings
from scopeview.errors import ScopeviewError
from scopeview.slots import Layer

log = logging.getLogger("scopeview.worker")

RETRY_LOAD_S = 60.0
"""A failed load is told to visitors for this long before it is tried again."""

Crop = np.ndarray[Any, np.dtype[np.uint8]]
Vectors = np.ndarray[Any, np.dtype[np.float32]]


class EncoderProtocol(Protocol):
    """The part of `scopeview.vision.encoder.Encoder` that the server uses."""

    def crop(self, image: Image.Image) -> Crop:
        """The square the model sees: (3, height, width)."""

    def decompose(
        self, crops: Crop, layers: Sequence[Layer] | None = None, *, embedding: bool = True
    ) -> list[Decomposition]:
        """Each of (batch, 3, height, width) at every token of these layers, None all."""

    def steer(self, crop: Crop, apart: LayerDecomposition, knobs: FeatureEdits) -> SteeredEmbeddings:
        """One picture's embedding without and with the edits; `apart` is it at the knobs' layer."""

    def directions(self, layer: Layer, features: Sequence[int]) -> Vectors:
        """The decoder rows of some features: (feature, d_in)."""

    def norms(self, layer: Layer, features: Sequence[int]) -> Vectors:
        """Their lengths: (feature,)."""

    @property
    def logit_scale(self) -> float:
        """By what the model multiplies cosines. Raises `ModelError` where it does not say."""

    def facts(self) -> dict[str, Any]:
        """What is loaded, and where: as `app.api.schemas.common.LoadedOut` has it."""


EncoderFactory = Callable[[Path], EncoderProtocol]
"""Loads the encoder of an index folder. Raises `ScopeviewError` or `ImportError` where it cannot."""


class Encoders:
    """One encoder an index folder. Call from any thread."""

    def __init__(self, factory: EncoderFactory | None) -> None:
        """`factory` is None where taking pictures apart is switched off."""
        self._factory = factory
        self._loaded: dict[Path, EncoderProtocol] = {}
        self._failures: dict[Path, tuple[float, str]] = {}
        self._loading = threading.Lock()

    def unavailable_reason(self, index_dir: Path) -> str | None:
        """Why there is none at this moment, or None as far as is known."""
        if self._factory is None:
            return "the operator of this server disabled the model"
        failed_s, why = self._failures.get(index_dir, (0.0, ""))
        return why if why and time.monotonic() - failed_s < RETRY_LOAD_S else None

    def get(self, index_dir: Path) -> EncoderProtocol:
        """Loads it when it is not loaded yet, which takes seconds. Raises `EncoderAbsentError`."""
        found = self._loaded.get(index_dir)
        if found is not None:
            return found
        with self._loading:
            if index_dir not in self._loaded:
                self._loaded[index_dir] = self._load(index_dir)
            return self._loaded[index_dir]

    def loaded(self, index_dir: Path) -> EncoderProtocol | None:
        return self._loaded.get(index_dir)

    def forget(self, index_dir: Path) -> None:
        """The next to ask loads a fresh one."""
        self._loaded.pop(index_dir, None)

    def reload(self, index_dir: Path, failed: EncoderProtocol) -> None:
        """Puts a fresh one in the place of one that failed. Raises nothing: `why_absent` tells."""
        with self._loading:
            if self._loaded.get(index_dir) is failed:
                del self._loaded[index_dir]
        try:
            self.get(index_dir)
        except EncoderAbsentError:
            log.warning("the encoder of %s is gone; it is tried again in %.0f s", index_dir, RETRY_LOAD_S)

    def _load(self, index_dir: Path) -> EncoderProtocol:
        why = self.unavailable_reason(index_dir)
        if why is not None or self._factory is None:
            raise EncoderAbsentError(why or "there is no model")
        try:
            return self._factory(index_dir)
        except (ScopeviewError, ImportError) as error:  # whose message says all there is to say
            log.warning("the encoder of %s could not be loaded: %s", index_dir, error)
            raise self._failed(index_dir, error) from error
        except (OSError, RuntimeError, MemoryError) as error:
            log.exception("the encoder of %s could not be loaded", index_dir)
            raise self._failed(index_dir, error) from error

    def _failed(self, index_dir: Path, error: Exception) -> EncoderAbsentError:
        why = _public_reason(error)
        self._failures[index_dir] = (time.monotonic(), why)
        return EncoderAbsentError(why)


def _public_reason(error: Exception) -> str:
    """Without paths: the log has the whole message."""
    if isinstance(error, ImportError):
        return "the packages that run the model are not installed"
    if isinstance(error, ScopeviewError):
        return "the model or SAE files of this index are missing or unusable"
    return "the model could not be loaded"


def scopeview_encoders(device: str) -> EncoderFactory | None:
    """The real thing; None for the device `off`."""
    if device == "off":
        return None

    def load(index_dir: Path) -> EncoderProtocol:
        from scopeview.model_spec import load_encoder

        encoder: EncoderProtocol = load_encoder(index_dir, device=device)
        return encoder

    return load
