"""Text embeddings: an index's text encoder, loaded when first needed and run by the worker.

Texts embedded before are remembered. If there is no text encoder, `unavailable_reason` gives the reason in
words for a visitor; search by name goes on without it.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from cachetools import LRUCache

from app.engine.errors import BusyError, EncoderAbsentError, TooSlowError
from app.engine.lazy_models import LazyModels, LoadFailure
from app.engine.worker import Worker
from scopeview.errors import NoTextError, ScopeviewError

CACHE_SIZE = 1024
"""Texts whose vectors are kept: 3 KB each."""

LOADING = "the model is loading; try again in a minute"
BUSY = "the model is busy; try again in a moment"

Vector = np.ndarray[Any, np.dtype[np.float32]]


class TextEncoderProtocol(Protocol):
    """The part of `scopeview.vision.text.TextEncoder` that search uses."""

    def embed(self, texts: Sequence[str]) -> Vector:
        """Returns the embeddings: (text, projection), each row of unit length."""

    def unknown_words(self, text: str) -> list[str]:
        """Returns the words that the model does not know; it treats them all alike."""


@dataclass(frozen=True)
class EmbeddedText:
    """A text in CLIP's space."""

    vector: Vector  # (projection,) of unit length
    unknown_words: Sequence[str]  # that count for nothing in it, each once


TextEncoderFactory = Callable[[Path], TextEncoderProtocol]
"""Loads the text encoder of an index folder. Raises `ScopeviewError` or `ImportError` if it cannot."""


class TextEncoders:
    """One text encoder per index folder. Thread-safe."""

    def __init__(
        self, factory: TextEncoderFactory | None, worker: Worker, *, deadline_s: float = 10.0
    ) -> None:
        """`factory` is None where models are switched off. Search does not wait beyond the deadline."""
        self._worker, self._deadline_s = worker, deadline_s
        self._encoders = LazyModels(
            factory,
            name="text encoder",
            explain=_load_failure,
        )
        self._known = LRUCache[tuple[Path, str], EmbeddedText | str](CACHE_SIZE)
        self._lock = threading.Lock()

    def unavailable_reason(self, index_dir: Path) -> str | None:
        """Returns why words cannot become vectors now; None if no reason is known."""
        return self._encoders.unavailable_reason(index_dir)

    def is_loaded(self, index_dir: Path) -> bool:
        return self._encoders.loaded(index_dir) is not None

    def is_known(self, index_dir: Path, text: str) -> bool:
        """True if `embedded` can answer without the model."""
        return self.unavailable_reason(index_dir) is not None or (index_dir, _plain(text)) in self._known

    async def embedded(self, index_dir: Path, text: str) -> EmbeddedText | str:
        """Returns the embedded text, or in words why it has no place in CLIP's space."""
        text = _plain(text)
        known = self._remembered((index_dir, text))
        if known is not None:
            return known
        why = self.unavailable_reason(index_dir)
        if why is not None:
            return why
        try:
            waiting = asyncio.wrap_future(self._worker.run(lambda: self._embed(index_dir, text)))
            return await asyncio.wait_for(waiting, self._deadline_s)
        except (TimeoutError, BusyError, TooSlowError):
            return BUSY if self.is_loaded(index_dir) else LOADING

    def _embed(self, index_dir: Path, text: str) -> EmbeddedText | str:
        """Embeds the text, in the worker's thread."""
        known = self._remembered((index_dir, text))
        if known is not None:
            return known
        try:
            encoder = self._encoders.get(index_dir)
        except EncoderAbsentError as error:
            return error.why
        found = _embedded(encoder, text)
        with self._lock:
            self._known[index_dir, text] = found
        return found

    def _remembered(self, key: tuple[Path, str]) -> EmbeddedText | str | None:
        with self._lock:
            return self._known.get(key)


def _embedded(encoder: TextEncoderProtocol, text: str) -> EmbeddedText | str:
    unknown = encoder.unknown_words(text)
    if unknown and len(unknown) == len(set(text.split())):
        return f"the model does not know {'this word' if len(unknown) == 1 else 'any of these words'}"
    return EmbeddedText(np.asarray(encoder.embed([text])[0], dtype=np.float32), unknown)


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


def _load_failure(error: Exception) -> LoadFailure:
    if isinstance(error, NoTextError):  # the model will not come to have one
        return LoadFailure("the model of this index has no text encoder with a tokenizer", is_final=True)
    if isinstance(error, ScopeviewError):
        return LoadFailure("the text encoder of this index is missing")
    return LoadFailure("the text encoder could not be loaded")


def scopeview_text_encoders(device: str) -> TextEncoderFactory | None:
    """Returns the factory of the real text encoders; None for the device `off`. Loading one imports torch."""
    if device == "off":
        return None

    def load(index_dir: Path) -> TextEncoderProtocol:
        from scopeview.model_spec import load_text_encoder

        encoder: TextEncoderProtocol = load_text_encoder(index_dir, device=device)
        return encoder

    return load
