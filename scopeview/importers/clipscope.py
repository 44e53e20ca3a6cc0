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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.hub import cached_repo_id
from scopeview.importers.file_kind import file_kind
from scopeview.importers.sites import CLIP_SCOPE_FOLDER, requested_layer
from scopeview.importers.source import (
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    check_finite,
    check_k,
    check_sizes,
    check_stated,
    check_tensors,
    check_widths,
    read_tensors,
    whole_number,
)
from scopeview.importers.torch_file import read_torch, specs_of, tensors_of
from scopeview.sae.autoencoder import SaeConfig, Weights
from scopeview.sae.forms import Architecture
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
_CONVERT = "docs/sae-format.md lists what is read, and how to write an SAE in a format that is"
_STANDARDIZED = (
    "does not say how its inputs were normalised: they are standardised, as CLIP-Scope's training code does; "
    "--normalization none where that is wrong"
)


class Sizes(NamedTuple):
    """The widths of an SAE, and the k that its file states, or None."""

    d_in: int
    n_features: int
    k: int | None


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return [f"{layer}_resid/*.pt" for layer in layers] if layers is not None else ["*_resid/*.pt"]


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """The `.pt` files of a suite folder or of one layer's folder; a single one in such a folder."""
    del layers  # the folder's name has it
    paths = [root] if root.is_file() else [*sorted(root.glob("*_resid/*.pt")), *sorted(root.glob("*.pt"))]
    for path in paths:
        if (found := _by_folder(path)) is not None:
            yield found


def find_file(path: Path, layers: Sequence[Layer] | None) -> WeightFile:
    """A single file of no other format, in any folder: its layer is the only one requested."""
    _checked_sizes(path)  # whatever else is wrong with it is said first
    return WeightFile("clip-scope", requested_layer(path, layers, folder="22_resid"), path, path.name)


def _by_folder(path: Path) -> WeightFile | None:
    folder = CLIP_SCOPE_FOLDER.fullmatch(path.absolute().parent.name)
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
    checkpoint = read_torch(path)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} holds a {type(checkpoint).__name__}; expected a dict")
    return checkpoint


def _weights_in(path: Path, checkpoint: Mapping[str, object]) -> dict[str, Tensor]:
    state = checkpoint.get("model_state_dict")
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path} is {file_kind(path)}; its keys are {sorted(map(str, checkpoint))}, expected "
            f"model_state_dict, a dict with {', '.join(TENSORS)}. {_CONVERT}"
        )
    return tensors_of(path, state, "model_state_dict")


def _checked_sizes(path: Path) -> Sizes:
    checkpoint = _load_pt(path)
    specs = specs_of(_weights_in(path, checkpoint))
    # Where one is missing, check_tensors says which.
    d_in, n_features = (
        check_widths(path, specs["enc"], specs["dec"]) if {"enc", "dec"} <= set(specs) else (0, 0)
    )
    check_tensors(path, specs, {"pre_b": (d_in,), "enc": (d_in, n_features), "dec": (n_features, d_in)})
    check_sizes(path, checkpoint, {"d_in": d_in, "n_features": n_features})
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
    state = _weights_in(source.path, checkpoint)
    weights = {name: tensor.float().contiguous() for name, tensor in state.items()}
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
