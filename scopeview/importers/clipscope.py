"""CLIP-Scope checkpoints: `{layer}_resid/{tokens}.pt`, trained on standardised activations.

The authors' code writes TopK and ReLU SAEs under the same names and shapes, and the released suite does not
state its k. So k = 32 is assumed for the suite's own files alone; any other file states its k, or the user
does. A `.pt` is a zip with a pickle inside. It is only ever read with `weights_only=True` (nothing executes),
and is converted once to safetensors in a cache (`SCOPEVIEW_CACHE`, else `~/.cache/scopeview`), under the
sha256 of the original file; later loads read that. Everything but the three weights, such as the optimizer's
state, is ignored. The metrics that the authors published are in `scopeview.sae.reference_metrics`.
"""

import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.hub import cached_repo_id
from scopeview.importers.file_kind import file_kind
from scopeview.importers.source import (
    Loaded,
    SaeSource,
    Stated,
    TensorSpec,
    WeightFile,
    check_finite,
    check_k,
    check_stated,
    check_tensors,
    check_widths,
    plain_names,
    read_tensors,
    whole_number,
)
from scopeview.sae.autoencoder import Architecture, SaeConfig, Weights
from scopeview.sae.model_match import TrainedOn
from scopeview.slots import Layer, parse_layer
from scopeview.store.files import cache_dir, file_sha256

SUITE = "lewington/CLIP-ViT-L-scope"
SUITE_MODEL = "laion/CLIP-ViT-L-14-laion2B-s32B-b82K"
# Some files of the suite do not say their k; it is that of the suite's training config.
SUITE_K = 32
# A copy outside Hugging Face's cache is known by its name (the tokens it was trained on) and its widths.
_SUITE_FILE = re.compile(r"(2|5|8|11|14|17|20|22)_resid/1200013184\.pt")
_SUITE_WIDTHS = (1024, 65_536)
TENSORS = ("pre_b", "enc", "dec")
_CONVERT = "docs/sae-format.md says how to write an SAE in a format that is read"
_STANDARDIZED = (
    "does not say how its inputs were normalised: they are standardised, as CLIP-Scope's training code does; "
    "--normalization none where that is wrong"
)
_FOLDER = re.compile(r"(0|[1-9][0-9]*)_resid")


class Sizes(NamedTuple):
    """The widths of an SAE, and the k that its file states, or None."""

    d_in: int
    n_features: int
    k: int | None


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return [f"{layer}_resid/*.pt" for layer in layers] if layers is not None else ["*_resid/*.pt"]


def find(root: Path) -> Iterator[WeightFile]:
    """The `.pt` files of a suite folder or of one layer's folder."""
    for path in [*sorted(root.glob("*_resid/*.pt")), *sorted(root.glob("*.pt"))]:
        if (found := _by_folder(path)) is not None:
            yield found


def find_file(path: Path, layers: Sequence[Layer] | None) -> WeightFile:
    """A single file. Its layer is the one its folder's name states, or else the only one requested."""
    found = _by_folder(path)
    if found is not None:
        return found
    _checked_sizes(path)  # whatever else is wrong with it is said first
    if layers is None or len(layers) != 1:
        raise CheckpointError(
            f"cannot tell which layer {path} is for; expected --layers with its one layer, such as --layers "
            "22, or the file in a folder such as 22_resid"
        )
    return WeightFile("clip-scope", layers[0], path, path.name)


def _by_folder(path: Path) -> WeightFile | None:
    folder = _FOLDER.fullmatch(path.absolute().parent.name)
    if folder is None:
        return None
    return WeightFile("clip-scope", parse_layer(folder[1]), path, f"{folder[0]}/{path.name}")


def read(found: WeightFile, stated: Stated) -> SaeSource:
    """Checks the file's structure, widths and types; the numbers are only mapped, not read."""
    sha256 = file_sha256(found.path)
    sizes = _converted_sizes(_converted_path(sha256)) or _checked_sizes(found.path)
    of_suite = is_of_suite(found, sizes)
    architecture, k = _architecture(found.path, sizes, of_suite, stated)
    config = SaeConfig(
        architecture=architecture,
        layer=found.layer,
        d_in=sizes.d_in,
        n_features=sizes.n_features,
        k=k,
        normalization="standardize",
        source=found.name,
        sha256=sha256,
    )
    trained_on = TrainedOn(SUITE_MODEL) if of_suite else None
    return SaeSource("clip-scope", found.path, config, trained_on, () if of_suite else (_STANDARDIZED,))


def is_of_suite(found: WeightFile, sizes: Sizes) -> bool:
    """True for a file that CLIP-Scope's authors released."""
    if cached_repo_id(found.path) == SUITE:
        return True
    return bool(_SUITE_FILE.fullmatch(found.name)) and sizes[:2] == _SUITE_WIDTHS


def _architecture(
    path: Path, sizes: Sizes, of_suite: bool, stated: Stated
) -> tuple[Architecture, int | None]:
    """The architecture and k of the file, or else of the suite, or else as the command line states."""
    known = sizes.k if sizes.k is not None else SUITE_K if of_suite else None
    if known is not None:
        check_stated(path, stated, "topk", known)
        return "topk", check_k(path, known, sizes.n_features)
    if stated.architecture == "relu":
        check_stated(path, stated, "relu", None)
        return "relu", None
    if stated.k is not None:
        return "topk", check_k(path, stated.k, sizes.n_features)
    raise CheckpointError(
        f"{path} has the tensors of CLIP-Scope but no k, and is none of its authors' files ({SUITE}): it may "
        "be a TopK or a ReLU SAE; expected --k N (TopK) or --architecture relu"
    )


def load(source: SaeSource) -> Loaded:
    """Loads the weights from the converted copy, which is made first if it does not exist."""
    converted = _converted_path(source.config.sha256)
    if _converted_sizes(converted) is None:
        _convert(source, converted)
    return Loaded(Weights(**read_tensors(converted, TENSORS)))


def _load_pt(path: Path) -> Mapping[str, object]:
    if not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a complete torch checkpoint: it is "
            f"{file_kind(path)}. Expected the zip archive that torch.save writes, not truncated"
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_number_types()):
            warnings.simplefilter("ignore")  # torch's advice to load TorchScript by other means
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a hostile or damaged archive makes torch raise almost anything
        if (kind := file_kind(path)).startswith("an SAE of saev"):
            raise CheckpointError(f"{path} is {kind}, which is not read here. {_CONVERT}") from None
        raise CheckpointError(
            f"{path} cannot be read as plain weights (nothing in it was executed): found {_reason(error)}; "
            "expected a dict of tensors and numbers"
        ) from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} holds a {type(checkpoint).__name__}; expected a dict")
    return checkpoint


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


def _weights_in(path: Path, checkpoint: Mapping[str, object]) -> list[tuple[str, object]]:
    state = checkpoint.get("model_state_dict")
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path} is {file_kind(path)}; its keys are {sorted(map(str, checkpoint))}, expected "
            f"model_state_dict, a dict with {', '.join(TENSORS)}. {_CONVERT}"
        )
    return list(zip(plain_names(path, map(str, state)), state.values(), strict=True))


def _spec(path: Path, name: str, value: object) -> TensorSpec:
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        raise CheckpointError(
            f"{path}: model_state_dict[{name!r}] is a {type(value).__name__}; expected a tensor"
        )
    return TensorSpec(tuple(value.shape), str(value.dtype).removeprefix("torch."))


def _checked_sizes(path: Path) -> Sizes:
    checkpoint = _load_pt(path)
    specs = {name: _spec(path, name, value) for name, value in _weights_in(path, checkpoint)}
    # Where one is missing, check_tensors says which.
    d_in, n_features = (
        check_widths(path, specs["enc"], specs["dec"]) if {"enc", "dec"} <= set(specs) else (0, 0)
    )
    check_tensors(path, specs, {"pre_b": (d_in,), "enc": (d_in, n_features), "dec": (n_features, d_in)})
    for key, size in (("d_in", d_in), ("n_features", n_features)):
        if whole_number(checkpoint.get(key, size)) != size:
            raise CheckpointError(
                f"{path}: {key} says {checkpoint[key]!r} but the weights have {size}; expected them to agree"
            )
    k = checkpoint.get("k")
    return Sizes(d_in, n_features, None if k is None else check_k(path, k, n_features))


def _converted_path(sha256: str) -> Path:
    return cache_dir() / "saes" / f"{sha256}.safetensors"


def _converted_sizes(converted: Path) -> Sizes | None:
    """The sizes in the converted copy; None if it does not exist or is damaged: it is then made again."""
    try:
        with safe_open(converted, framework="pt") as file:
            d_in, n_features = file.get_slice("enc").get_shape()
            k = file.metadata()["stated_k"]
            return Sizes(d_in, n_features, int(k) if k else None)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _convert(source: SaeSource, converted: Path) -> None:
    """Writes the converted copy to a temporary place and renames it, so that no process sees half a file."""
    checkpoint = _load_pt(source.path)
    stated_k = str(whole_number(checkpoint.get("k")) or "")
    state = dict(_weights_in(source.path, checkpoint))
    weights = {
        name: tensor.float().contiguous() for name, tensor in state.items() if isinstance(tensor, Tensor)
    }
    check_finite(source.path, weights)
    try:
        converted.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=converted.parent) as temporary:
            written = Path(temporary) / converted.name
            save_file(weights, written, metadata={"stated_k": stated_k, "source": source.config.source})
            written.replace(converted)
    except OSError as error:
        raise CheckpointError(
            f"cannot keep a converted copy of {source.path} at {converted}: {error}; "
            "set SCOPEVIEW_CACHE to a folder with room for it"
        ) from None
