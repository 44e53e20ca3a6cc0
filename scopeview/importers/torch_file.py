"""Files that `torch.save` wrote, read as plain tensors and numbers. Nothing in them is ever executed.

A config that was pickled as an instance of a library's own class is read by a stand-in: an object of no
behaviour that only takes the attributes.
"""

import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.file_kind import file_kind
from scopeview.importers.sites import CLIP_SCOPE_FOLDER
from scopeview.importers.source import TensorSpec, check_finite, files, plain_names


class PickledConfig:
    """Stands in for a library's config class: holds the attributes that were pickled, and has no methods."""


StandIn = tuple[Any, str]
"""A harmless object, and the name in the pickle that stands for it."""


def read_torch(path: Path, stand_ins: Sequence[StandIn] = ()) -> Any:
    """The content of a file that torch.save wrote, mapped. Raises `CheckpointError` for any other."""
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a complete torch checkpoint: it is "
            f"{file_kind(path)}. Expected the zip archive that torch.save writes, not truncated"
        )
    return load_plain(path, path, stand_ins, mmap=True)


def load_plain(
    path: Path, stream: Path | io.BytesIO, stand_ins: Sequence[StandIn] = (), *, mmap: bool = False
) -> Any:
    """The content of `stream`, which is the whole file or a part. Raises `CheckpointError` for code in it."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([*_number_types(), *stand_ins]):
            warnings.simplefilter("ignore")  # torch's advice to load TorchScript by other means
            return torch.load(stream, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # a hostile or damaged archive makes torch raise almost anything
        raise CheckpointError(
            f"{path} cannot be read as plain weights (nothing in it was executed): found {_reason(error)}; "
            "expected a dict of tensors and numbers"
        ) from None


def tensors_of(path: Path, state: object, where: str = "its state dict") -> dict[str, Tensor]:
    """A state dict's tensors by their names without prefixes of `torch.compile` and parallel training."""
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path}: {where} is a {type(state).__name__}; expected a dict of tensors")
    found = {}
    for name, value in zip(plain_names(path, map(str, state)), state.values(), strict=True):
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise CheckpointError(f"{path}: {where}[{name!r}] is a {type(value).__name__}; expected a tensor")
        found[name] = value.detach()
    return found


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """Shapes and types, as `source.read_header` gives them of a safetensors file."""
    return {
        name: TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in tensors.items()
    }


def weights_of(path: Path, tensors: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The named tensors in fp32. Raises `CheckpointError` for NaN and infinities."""
    found = {name: tensors[name].float() for name in names}
    check_finite(path, found)
    return found


def torch_files(root: Path, *patterns: str) -> list[Path]:
    """The files with such names at or below `root`, but for those whose folder says they are CLIP-Scope's."""
    return [
        path
        for path in files(root, *patterns)
        if not CLIP_SCOPE_FOLDER.fullmatch(path.absolute().parent.name)
    ]


def has_tensors(path: Path, *names: str) -> bool:
    """True if the file holds a state dict, at its top, with tensors of these names. Never raises."""
    try:
        content = read_torch(path)
    except (CheckpointError, OSError):
        return False
    return isinstance(content, Mapping) and set(names) <= set(map(str, content))


def _number_types() -> list[Any]:
    """The types in pickles of NumPy scalars: they contain the bytes of a number, and no code."""
    made_by = np.int64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("int32", "int64", "float32", "float64")]
    return [made_by, (made_by, "numpy.core.multiarray.scalar"), np.dtype, *kinds]


def _reason(error: Exception) -> str:
    """The useful part of torch's message, which otherwise recommends loading the file unsafely."""
    forbidden = re.search(r"GLOBAL (\S+)", str(error))
    if forbidden:
        return f"a pickled {forbidden[1]}"
    return f"a damaged archive ({type(error).__name__}: {str(error).splitlines()[0][:160]})"
