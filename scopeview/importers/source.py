"""The results of a format's reader, and the checks that all formats share. Knows no format."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.sae.autoencoder import SaeConfig, Weights
from scopeview.sae.forms import Architecture, Normalization
from scopeview.sae.model_match import TrainedOn
from scopeview.sae.normalization import Standardization
from scopeview.slots import Layer
from scopeview.store.files import file_sha256
from scopeview.vision.weights import plain_name

Format = Literal[
    "clip-scope",
    "scopeview-sae",
    "saelens",
    "dictionary-learning",
    "prisma",
    "saev",
    "sparsify",
    "visaebench",
    "vit-sae",
    "daujotas",
    "msae",
    "dn-cbm",
    "overcomplete",
]
WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "float64")
CONFIG_NAME = "cfg.json"
SIGNED = (
    "its activations can be negative: these count for reconstruction and steering and are kept at single "
    "tokens, but only those above zero fire, so `any`, grids and counts are of these"
)
Model = TypeVar("Model", bound=BaseModel)
# safetensors' names for dtypes, as its header spells them.
_HEADER_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


@dataclass(frozen=True)
class SaeSource:
    """One SAE on disk, checked but not loaded. `path` is its weight file.

    `trained_on` is the model that the file names. `notes` lists what is assumed of the input normalisation
    because the file does not state it; `remarks`, what else there is to know, whatever the normalisation.
    """

    format: Format
    path: Path
    config: SaeConfig
    trained_on: TrainedOn | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def layer(self) -> Layer:
        return self.config.layer


class WeightFile(NamedTuple):
    """A weight file, the layer it is for, and its name within the suite."""

    format: Format
    layer: Layer
    path: Path
    name: str


class Stated(NamedTuple):
    """The properties stated on the command line for SAEs whose files do not: `--architecture` and `--k`."""

    architecture: Architecture | None = None
    k: int | None = None


NOTHING_STATED = Stated()


class Form(NamedTuple):
    """How an SAE computes, as the reader of its format found it; the command line may say a missing `k`."""

    architecture: Architecture
    k: int | None = None
    normalization: Normalization = "none"
    relu_after_topk: bool = False
    subtract_pre_b: bool = True
    soft_cap: float | None = None


class Loaded(NamedTuple):
    """Weights on the CPU in fp32, and the mean and std if the file has them."""

    weights: Weights
    standardization: Standardization | None = None


class TensorSpec(NamedTuple):
    """The header's entry for one tensor."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def files(root: Path, *patterns: str) -> list[Path]:
    """The files with such names anywhere below `root`; `root` itself if it is such a file."""
    if root.is_file():
        return [root] if any(fnmatch(root.name, pattern) for pattern in patterns) else []
    return sorted({path for pattern in patterns for path in root.rglob(pattern) if path.is_file()})


def weight_file(fmt: Format, root: Path, path: Path, layer: Layer) -> WeightFile:
    """A weight file found at or below `root`."""
    name = path.relative_to(root if root.is_dir() else root.parent).as_posix()
    return WeightFile(fmt, layer, path, name)


def sae_source(
    found: WeightFile,
    stated: Stated,
    form: Form,
    widths: tuple[int, int],
    *,
    trained_on: str | None = None,
    notes: Iterable[str] = (),
    remarks: Iterable[str] = (),
) -> SaeSource:
    """The source of an SAE with these `widths` (d_in, n_features), and checks of k and the command line."""
    d_in, n_features = widths
    k = None
    if form.architecture not in ("relu", "jumprelu"):
        k = check_k(found.path, stated.k if form.k is None else form.k, n_features)
    check_stated(found.path, stated, form.architecture, k)
    if form.architecture == "groupmax" and k is not None:
        check_groups(found.path, k, n_features)
    config = SaeConfig(
        **{**form._asdict(), "k": k},
        layer=found.layer,
        d_in=d_in,
        n_features=n_features,
        source=found.name,
        sha256=file_sha256(found.path),
    )
    signed = (SIGNED,) if form.architecture == "abstopk" else ()
    model = TrainedOn(trained_on) if trained_on else None
    return SaeSource(found.format, found.path, config, model, tuple(notes), (*signed, *remarks))


def folder_patterns(layers: Sequence[Layer] | None, names: Sequence[str]) -> list[str]:
    """Patterns for files with these names, in the folders of these layers (None: in any) or in no folder.

    A folder's name holds the layer as a separate number: `11`, `layer_11`, `blocks.11.hook_resid_post`,
    `vision_model.encoder.layers.11`.
    """
    if layers is None:
        return [pattern for name in names for pattern in (name, f"*/{name}")]
    folders = [
        f"{before}{layer}{after}"
        for layer in layers
        for before in ("", "*[!0-9]")
        for after in ("", "[!0-9]*")
    ]
    return [*names, *(f"{folder}/{name}" for folder in folders for name in names)]


def read_config(path: Path, model: type[Model]) -> Model:
    """Reads a config file as `model`. Raises `CheckpointError` naming the fields that are wrong."""
    return validate(path, read_json(path), model)


def validate(path: Path, values: Mapping[str, object], model: type[Model]) -> Model:
    """Reads the values of a config as `model`. Raises `CheckpointError` naming the fields that are wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}, found {e['input']!r}"
            if e["type"] != "missing"
            else f"{'.'.join(map(str, e['loc']))} is missing"
            for e in error.errors()
        )
        raise CheckpointError(f"{path} is not a usable SAE config: {problems}") from None


def read_json(path: Path) -> dict[str, object]:
    try:
        content: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}; expected an object")
    return content


def read_header(path: Path) -> dict[str, TensorSpec]:
    """Shapes and dtypes of a safetensors file, without its data."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {
                name: file.get_slice(stored) for name, stored in _stored_names(path, file.keys()).items()
            }
            return {
                name: TensorSpec(
                    tuple(s.get_shape()), _HEADER_DTYPES.get(s.get_dtype(), s.get_dtype().lower())
                )
                for name, s in slices.items()
            }
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {error}") from None


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """The named tensors in fp32 on the CPU."""
    with safe_open(path, framework="pt") as file:
        stored = _stored_names(path, file.keys())
        return {name: file.get_tensor(stored[name]).float() for name in names}


def plain_names(path: Path, names: Iterable[str]) -> list[str]:
    """The names without prefixes of `torch.compile` and parallel training. Raises `CheckpointError`."""
    plain = [plain_name(name) for name in names]
    if len(set(plain)) != len(plain):
        twice = next(name for name in plain if plain.count(name) > 1)
        raise CheckpointError(f"{path} holds the tensor {twice} twice, with and without a prefix")
    return plain


def _stored_names(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Plain name -> name in the file."""
    stored = list(names)
    return dict(zip(plain_names(path, stored), stored, strict=True))


def whole_number(value: object) -> object:
    """Converts 32.0, `np.int64(32)` and `torch.tensor(32)` to 32; returns anything else unchanged."""
    if (isinstance(value, Tensor) and value.numel() == 1) or isinstance(value, np.integer | np.floating):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(whole_number)]


def check_tensors(
    path: Path,
    found: Mapping[str, TensorSpec],
    expected: Mapping[str, tuple[int, ...]],
    allowed: Iterable[str] = (),
) -> None:
    """Checks that the file has exactly the expected tensors, with their shapes and numeric types."""
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected) - set(allowed))
    if missing or unknown:
        raise CheckpointError(
            f"{path} holds the tensors {sorted(found)}; expected {sorted(expected)}"
            + (f" (missing: {', '.join(missing)})" if missing else "")
            + (f" (unknown: {', '.join(unknown)})" if unknown else "")
        )
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(found[name].shape)}; expected {list(shape)}"
            )
        if found[name].dtype not in WEIGHT_DTYPES:
            raise CheckpointError(
                f"{path}: tensor {name} is {found[name].dtype}; expected one of {', '.join(WEIGHT_DTYPES)}"
            )


def check_widths(path: Path, enc: TensorSpec | None, dec: TensorSpec | None) -> tuple[int, int]:
    """Returns (d_in, n_features) from the encoder's shape; the decoder must have the transposed shape."""
    if enc is None or dec is None or len(enc.shape) != 2 or dec.shape != enc.shape[::-1] or 0 in enc.shape:
        raise CheckpointError(
            f"{path}: the encoder is {enc or 'missing'} and the decoder {dec or 'missing'}; "
            "expected [d_in, n_features] and [n_features, d_in]"
        )
    return enc.shape[0], enc.shape[1]


def check_k(path: Path, k: object, n_features: int) -> int:
    """Checks and returns a TopK SAE's k, an int from 1 to n_features."""
    number = whole_number(k)
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= n_features:
        raise CheckpointError(f"{path}: k is {k!r}; expected a whole number from 1 to {n_features}")
    return number


def check_groups(path: Path, k: int, n_features: int) -> None:
    """Raises `CheckpointError` unless the features make k groups of one size."""
    if n_features % k:
        raise CheckpointError(f"{path}: {n_features} features do not make k = {k} groups of one size")


def check_stated(path: Path, stated: Stated, architecture: Architecture, k: int | None) -> None:
    """Raises `CheckpointError` if the command line contradicts what is known of the file."""
    if stated.architecture not in (None, architecture):
        raise CheckpointError(
            f"{path} is a {architecture} SAE, but --architecture says {stated.architecture}; leave it out"
        )
    if stated.k not in (None, k):
        kind = {"relu": "ReLU", "jumprelu": "JumpReLU"}.get(architecture, architecture)
        has = f"has no k (it is a {kind} SAE)" if k is None else f"has k = {k}"
        raise CheckpointError(f"{path} {has}, but --k says {stated.k}; leave it out")


def check_sizes(path: Path, stated: Mapping[str, object], sizes: Mapping[str, int]) -> None:
    """Raises `CheckpointError` for a size that the file states and its weights do not have."""
    for name, size in sizes.items():
        if whole_number(stated.get(name, size)) != size:
            raise CheckpointError(
                f"{path}: {name} says {stated[name]!r} but the weights have {size}; expected them to agree"
            )


def check_supported(
    path: Path, values: Mapping[str, object], supported: Mapping[str, Iterable[object]]
) -> None:
    """Raises `CheckpointError` for the first setting whose value is not among the supported ones."""
    for name, accepted in supported.items():
        if values[name] not in accepted:
            names = ", ".join(repr(a) for a in accepted if a is not None)
            raise CheckpointError(f"{path}: {name} is {values[name]!r}; supported: {names or 'absent'}")


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises `CheckpointError` for NaN and infinities, with their number and the position of the first."""
    for name, tensor in tensors.items():
        # A float64 sum of finite fp32 numbers cannot overflow, and needs no mask of the tensor's size.
        if not tensor.sum(dtype=torch.float64).isfinite():
            bad = (~tensor.isfinite()).nonzero()
            value = tensor[tuple(bad[0])].item()
            raise CheckpointError(
                f"{path}: tensor {name} holds {len(bad)} values that are not finite, "
                f"the first ({value}) at {bad[0].tolist()}; expected finite weights"
            )
