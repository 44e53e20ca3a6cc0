"""Models by index folder, each loaded once when first needed; a failed load is retried later."""

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from app.engine.errors import EncoderAbsentError
from scopeview.errors import ScopeviewError

log = logging.getLogger("scopeview.worker")

RETRY_LOAD_S = 60.0
"""How long a failed load is reported to visitors before it is tried again."""

WHY_OFF = "the operator of this server disabled the model"

Model = TypeVar("Model")


class LoadFailure(NamedTuple):
    """Why a model is unavailable, in words for a visitor: without paths, which only the log has."""

    why: str
    is_final: bool = False  # it will not come to be


class LazyModels(Generic[Model]):
    """Models by index folder. Thread-safe. torch is imported only when a model is loaded."""

    def __init__(
        self,
        factory: Callable[[Path], Model] | None,
        *,
        name: str,
        explain: Callable[[Exception], LoadFailure],
    ) -> None:
        """Stores the factory, None where models are switched off, and the `name` that the log uses.

        `explain` words every failure except missing packages, which read the same for all models.
        """
        self._factory, self._name, self._explain = factory, name, explain
        self._loaded: dict[Path, Model] = {}
        self._failures: dict[Path, tuple[float, str]] = {}  # until when (monotonic), and why
        self._loading = threading.Lock()

    def unavailable_reason(self, index_dir: Path) -> str | None:
        """Returns why the model is unavailable now; None if no reason is known."""
        if self._factory is None:
            return WHY_OFF
        until_s, why = self._failures.get(index_dir, (0.0, ""))
        return why if time.monotonic() < until_s else None

    def get(self, index_dir: Path) -> Model:
        """Returns the model, and loads it if needed, which takes seconds. Raises `EncoderAbsentError`."""
        found = self._loaded.get(index_dir)
        if found is not None:
            return found
        with self._loading:
            if index_dir not in self._loaded:
                self._loaded[index_dir] = self._load(index_dir)
            return self._loaded[index_dir]

    def loaded(self, index_dir: Path) -> Model | None:
        return self._loaded.get(index_dir)

    def forget(self, index_dir: Path) -> None:
        """Drops the model: the next request for it loads a fresh one."""
        self._loaded.pop(index_dir, None)

    def reload(self, index_dir: Path, failed: Model) -> None:
        """Replaces a failed model with a fresh one. Raises nothing: see `unavailable_reason`."""
        with self._loading:
            if self._loaded.get(index_dir) is failed:
                del self._loaded[index_dir]
        try:
            self.get(index_dir)
        except EncoderAbsentError:
            log.warning("the %s of %s is gone; it is tried again later", self._name, index_dir)

    def _load(self, index_dir: Path) -> Model:
        why = self.unavailable_reason(index_dir)
        if why is not None or self._factory is None:
            raise EncoderAbsentError(why or WHY_OFF)
        try:
            return self._factory(index_dir)
        except (ScopeviewError, ImportError) as error:  # whose message says all there is to say
            log.warning("the %s of %s could not be loaded: %s", self._name, index_dir, error)
            raise self._failed(index_dir, error) from error
        except (OSError, RuntimeError, MemoryError) as error:
            log.exception("the %s of %s could not be loaded", self._name, index_dir)
            raise self._failed(index_dir, error) from error

    def _failed(self, index_dir: Path, error: Exception) -> EncoderAbsentError:
        missing = LoadFailure("the packages that run the model are not installed")
        failure = missing if isinstance(error, ImportError) else self._explain(error)
        until_s = math.inf if failure.is_final else time.monotonic() + RETRY_LOAD_S
        self._failures[index_dir] = (until_s, failure.why)
        return EncoderAbsentError(failure.why)
