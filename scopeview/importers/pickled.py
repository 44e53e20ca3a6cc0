"""Bare pickles, such as `sae.pkl.gz`, read as plain tensors and numbers. Nothing in them is ever executed.

`torch.load(weights_only=True)` reads pickles inside torch's own archives alone. Here an unpickler that can
find nothing but the parts of tensors, ordered dicts and stand-ins for a library's config class reads others.
"""

import gzip
import io
import pickle
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.torch_file import StandIn


def read_pickle(path: Path, stand_ins: Sequence[StandIn] = ()) -> Any:
    """The content of a `.pkl` or `.pkl.gz`. Raises `CheckpointError` for code in it, and for damage."""
    try:
        with _open(path) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about its own way to pickle a storage
            return _PlainUnpickler(stream, stand_ins).load()
    except _ForbiddenError as error:
        raise CheckpointError(
            f"{path} cannot be read as plain weights (nothing in it was executed): found a pickled {error}; "
            "expected a dict of tensors and numbers"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise CheckpointError(f"{path} is not a complete pickle: {error}") from None
    except Exception as error:  # a damaged pickle makes the unpickler raise almost anything
        raise CheckpointError(
            f"{path} cannot be read as plain weights (nothing in it was executed): found a damaged pickle "
            f"({type(error).__name__}); expected a dict of tensors and numbers"
        ) from None


def _open(path: Path) -> gzip.GzipFile | BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


class _ForbiddenError(Exception):
    """A pickle asks for something that is none of the known parts."""


class _PlainUnpickler(pickle.Unpickler):
    """Finds only what is in `_PARTS` and the stand-ins."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, stand_ins: Sequence[StandIn]) -> None:
        super().__init__(stream)
        self._known = {**_PARTS, **{name: stand_in for stand_in, name in stand_ins}}

    def find_class(self, module: str, name: str) -> Any:
        known = self._known.get(f"{module}.{name}")
        if known is None:
            raise _ForbiddenError(f"{module}.{name}")
        return known

    def persistent_load(self, pid: Any) -> Any:
        raise _ForbiddenError(f"persistent id {str(pid)[:80]!r}")


def _storage(content: bytes) -> Any:
    """The numbers of a tensor, which torch pickles as a file within the pickle."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """A tensor over its storage. `set_` alone would grow a storage that is too small; this refuses it."""
    flat = torch.empty(0, dtype=storage.dtype).set_(storage.untyped())
    return flat.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: object) -> Tensor:
    return data


_PARTS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.device": torch.device,
    **{f"torch.{name}": getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")},
}
