"""Words to vectors: an index's text tower, loaded when first needed and run in the worker's thread.

What was asked before is remembered. Where there is no text tower, `why_absent` says so in words for a
visitor; search by name goes on without.
"""

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from app.engine.errors import BusyError, TooSlowError
from app.engine.worker import Worker
from scopeview.errors import NoTextError, ScopeviewError

log = logging.getLogger("scopeview.worker")

RETRY_LOAD_S = 60.0
"""A failed load is told to visitors for this long before it is tried again."""

CACHE_SIZE = 1024
"""Texts whose vectors are kept: 3 KB each."""

LOADING = "the model is loading; try again in a minute"
BUSY = "the model is busy; try again in a moment"

Vector = np.ndarray[Any, np.dtype[np.float32]]


class TextTowerProtocol(Protocol):
    """The part of `scopeview.vision.text.TextEncoder` that search uses."""

    def embed(self, texts: Sequence[str]) -> Vector:
        """(text, projection), each row of unit length."""

    def unknown_words(self, text: str) -> list[str]:
        """Those of its words that the model does not know: it takes them all for the same."""


@dataclass(frozen=True)
class EmbeddedText:
    """A text in CLIP's space."""

    vector: Vector  # (projection,) of unit length
    unknown_words: Sequence[str]  # that count for nothing in it, each once


TowerFactory = Callable[[Path], TextTowerProtocol]
"""Loads the text tower of an index folder. Raises `ScopeviewError` or `ImportError` where it cannot."""


class TextEncoders:
    """One text tower an index folder. Call from any thread."""

    def __init__(self, factory: TowerFactory | None, worker: Worker, *, deadline_s: float = 10.0) -> None:
        """`factory` is None where models are switched off. Past the deadline search goes on without."""
        self._factory, self._worker, self._deadline_s = factory, worker, deadline_s
        self._towers: dict[Path, TextTowerProtocol] = {}  # written by the worker's thread alone
        self._failures: dict[Path, tuple[float, str]] = {}
        self._known: OrderedDict[tuple[Path, str], EmbeddedText | str] = OrderedDict()
        self._lock = threading.Lock()

    def unavailable_reason(self, index_dir: Path) -> str | None:
        """Why words cannot become vectors at this moment, or None as far as is known."""
        if self._factory is None:
            return "the operator of this server disabled the model"
        until_s, why = self._failures.get(index_dir, (0.0, ""))
        return why if time.monotonic() < until_s else None

    def is_loaded(self, index_dir: Path) -> bool:
        return index_dir in self._towers

    def is_known(self, index_dir: Path, text: str) -> bool:
        """Can `embedded` answer without the model?"""
        return self.unavailable_reason(index_dir) is not None or (index_dir, _plain(text)) in self._known

    async def embedded(self, index_dir: Path, text: str) -> EmbeddedText | str:
        """The text, or why it has no place in CLIP's space, in words."""
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
        """In the worker's thread."""
        known = self._remembered((index_dir, text))
        if known is not None:
            return known
        tower = self._tower(index_dir)
        if isinstance(tower, str):
            return tower
        found = _embedded(tower, text)
        with self._lock:
            self._known[index_dir, text] = found
            while len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
        return found

    def _remembered(self, key: tuple[Path, str]) -> EmbeddedText | str | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _tower(self, index_dir: Path) -> TextTowerProtocol | str:
        if index_dir in self._towers:
            return self._towers[index_dir]
        why = self.unavailable_reason(index_dir)
        if why is not None or self._factory is None:
            return why or "there is no text encoder"
        try:
            return self._towers.setdefault(index_dir, self._factory(index_dir))
        except NoTextError as error:  # the model will not come to have one
            log.warning("search goes on by names and numbers alone: %s", error)
            return self._failed(index_dir, "the model of this index has no text encoder", until_s=math.inf)
        except (ScopeviewError, ImportError) as error:
            log.warning("the text tower of %s could not be loaded: %s", index_dir, error)
            return self._failed(index_dir, _public_reason(error))
        except (OSError, RuntimeError, MemoryError) as error:
            log.exception("the text tower of %s could not be loaded", index_dir)
            return self._failed(index_dir, _public_reason(error))

    def _failed(self, index_dir: Path, why: str, *, until_s: float | None = None) -> str:
        self._failures[index_dir] = (until_s or time.monotonic() + RETRY_LOAD_S, why)
        return why


def _embedded(tower: TextTowerProtocol, text: str) -> EmbeddedText | str:
    unknown = tower.unknown_words(text)
    if unknown and len(unknown) == len(set(text.split())):
        return f"the model does not know {'this word' if len(unknown) == 1 else 'any of these words'}"
    return EmbeddedText(np.asarray(tower.embed([text])[0], dtype=np.float32), unknown)


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


def _public_reason(error: Exception) -> str:
    """Without paths: the log has the whole message."""
    if isinstance(error, ImportError):
        return "the packages that run the model are not installed"
    if isinstance(error, ScopeviewError):
        return "the text encoder of this index is missing"
    return "the text encoder could not be loaded"


def scopeview_towers(device: str) -> TowerFactory | None:
    """The real thing; None for the device `off`. torch is imported when a tower is loaded, not before."""
    if device == "off":
        return None

    def load(index_dir: Path) -> TextTowerProtocol:
        from scopeview.model_spec import load_text_encoder

        tower: TextTowerProtocol = load_text_encoder(index_dir, device=device)
        return tower

    return load
