"""Overcomplete: `sae.pt`, its state dict, and a `cfg.json` that Scopeview defines: the library has none.

    {"format": "overcomplete", "class": "TopKSAE", "layer": 11, "k": 32}

`class` is SAE, TopKSAE, JumpSAE, BatchTopKSAE, RATopKSAE or RAJumpSAE. The state dict lacks what is not a
tensor: `k` (TopK), `threshold` (BatchTopK's `running_threshold`), `dictionary_normalization` ("l2" unless the
dictionary was made with another) and `delta` of a relaxed archetypal dictionary (1.0). The dictionary is used
as the library uses it in evaluation: normalised, times its multiplier. Encoders of one linear layer, with or
without BatchNorm, tied or not, are read; deeper ones and other classes are refused by name.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.folding import inclusive
from scopeview.importers.source import (
    CONFIG_NAME,
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_tensors,
    files,
    folder_patterns,
    read_config,
    read_json,
    sae_source,
    weight_file,
)
from scopeview.importers.torch_file import read_torch, specs_of, tensors_of, weights_of
from scopeview.sae.autoencoder import Weights
from scopeview.slots import Embed, Layer

FORMAT: Literal["overcomplete"] = "overcomplete"
WEIGHTS_NAME = "sae.pt"
_BATCH_NORM_EPS = 1e-5  # torch's own, which the library does not change
_LINEAR = "encoder.final_block.0."
_NORM = "encoder.final_block.1."
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
_RELAXED = ("dictionary.C", "dictionary.W", "dictionary.Relax")


def _by_length(order: int, largest: bool) -> Callable[[Tensor], Tensor]:
    def normalized(rows: Tensor) -> Tensor:
        lengths = rows.norm(p=order, dim=1, keepdim=True)
        normal: Tensor = rows / (lengths.amax() if largest else lengths + 1e-8)
        return normal

    return normalized


_NORMALIZED: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": _by_length(2, largest=False),
    "max_l2": _by_length(2, largest=True),
    "l1": _by_length(1, largest=False),
    "max_l1": _by_length(1, largest=True),
    "identity": lambda rows: rows,
}


class OvercompleteConfig(BaseModel):
    """The content of `cfg.json`; other fields are kept for people and not read."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    format: Literal["overcomplete"]
    kind: Annotated[
        Literal["SAE", "TopKSAE", "JumpSAE", "BatchTopKSAE", "RATopKSAE", "RAJumpSAE"],
        Field(validation_alias="class"),
    ]
    layer: Annotated[WholeNumber, Field(ge=0)] | Embed
    k: WholeNumber | None = None
    threshold: float | None = None
    dictionary_normalization: Literal["l2", "max_l2", "l1", "max_l1", "identity"] = "l2"
    delta: Annotated[float, Field(gt=0)] = 1.0
    model: str | None = None

    @property
    def is_relaxed(self) -> bool:
        return self.kind.startswith("RA")


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, (CONFIG_NAME, WEIGHTS_NAME))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `sae.pt` with a `cfg.json` of this format beside it."""
    del layers  # the config has it
    for path in files(root, WEIGHTS_NAME):
        config = path.with_name(CONFIG_NAME)
        if config.is_file() and read_json(config).get("format") == FORMAT:
            yield weight_file(FORMAT, root, path, read_config(config, OvercompleteConfig).layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config_path = found.path.with_name(CONFIG_NAME)
    config = read_config(config_path, OvercompleteConfig)
    if config.kind == "BatchTopKSAE" and config.threshold is None:
        raise CheckpointError(
            f"{config_path} has no threshold; expected the BatchTopKSAE's running_threshold, which its state "
            "dict lacks"
        )
    tensors = tensors_of(found.path, read_torch(found.path))
    d_in, n_features = _widths(found.path, config, tensors)
    _check_shapes(found.path, config, tensors, d_in, n_features)
    is_topk = "TopK" in config.kind and config.kind != "BatchTopKSAE"
    form = Form(
        "topk" if is_topk else "relu" if config.kind == "SAE" else "jumprelu",
        config.k if is_topk else None,
        relu_after_topk=is_topk,
        subtract_pre_b=False,
    )
    return sae_source(found, stated, form, (d_in, n_features), trained_on=config.model)


def load(source: SaeSource) -> Loaded:
    config = read_config(source.path.with_name(CONFIG_NAME), OvercompleteConfig)
    stored = tensors_of(source.path, read_torch(source.path))
    w = weights_of(source.path, stored, [n for n, t in stored.items() if t.is_floating_point()])
    dec = _dictionary(config, w)
    enc, enc_b = _encoder(w, dec)
    threshold = None
    if "thresholds" in w:
        threshold = inclusive(w["thresholds"].exp())
    elif config.kind == "BatchTopKSAE" and config.threshold is not None:
        threshold = inclusive(torch.full((len(dec),), config.threshold))
    return Loaded(Weights(torch.zeros(dec.shape[1]), enc, dec, enc_b, threshold))


def _widths(path: Path, config: OvercompleteConfig, tensors: dict[str, Tensor]) -> tuple[int, int]:
    name = "dictionary.Relax" if config.is_relaxed else "dictionary._weights"
    table = tensors.get(name)
    if table is None or table.ndim != 2:
        raise CheckpointError(
            f"{path} holds the tensors {sorted(tensors)}; expected those of a {config.kind}, with {name} "
            "[n_features, d_in]"
        )
    return table.shape[1], table.shape[0]


def _check_shapes(
    path: Path, config: OvercompleteConfig, tensors: dict[str, Tensor], d_in: int, n_features: int
) -> None:
    deeper = next((n for n in tensors if n.startswith(("encoder.mlp_blocks.", "encoder.attention"))), None)
    if deeper is not None:
        raise CheckpointError(f"{path}: its encoder has {deeper}; supported are encoders of one linear layer")
    if f"{_NORM}weight" in tensors and f"{_NORM}running_mean" not in tensors:
        raise CheckpointError(f"{path}: its encoder ends in a LayerNorm; supported are none and BatchNorm")
    wide = (n_features, d_in)
    shapes: dict[str, tuple[int, ...]] = {"dictionary.multiplier": ()}
    if config.is_relaxed:
        points = tensors["dictionary.C"].shape[0] if "dictionary.C" in tensors else 0
        shapes |= dict(zip(_RELAXED, ((points, d_in), (n_features, points), wide), strict=True))
    else:
        shapes["dictionary._weights"] = wide
    if "Jump" in config.kind:
        shapes["thresholds"] = (n_features,)
    for prefix in (_LINEAR, "encoder."):
        if f"{prefix}weight" in tensors:
            shapes |= {f"{prefix}weight": wide}
        if f"{prefix}bias" in tensors:
            shapes |= {f"{prefix}bias": (n_features,)}
    if f"{_NORM}running_mean" in tensors:
        shapes |= {f"{_NORM}{part}": (n_features,) for part in _NORM_PARTS}
    allowed = (f"{_NORM}num_batches_tracked", "bandwidth")
    check_tensors(path, specs_of(tensors), shapes, allowed=allowed)


def _dictionary(config: OvercompleteConfig, w: dict[str, Tensor]) -> Tensor:
    scale = w["dictionary.multiplier"].exp()
    if not config.is_relaxed:
        return _NORMALIZED[config.dictionary_normalization](w["dictionary._weights"]) * scale
    points, mixture, offset = (w[name] for name in _RELAXED)
    mixture = mixture.relu()
    mixture = mixture / (mixture.sum(dim=1, keepdim=True) + 1e-8)
    offset = offset * (config.delta / offset.norm(dim=1, keepdim=True)).clamp(max=1)
    relaxed: Tensor = (mixture @ points + offset) * scale
    return relaxed


def _encoder(w: dict[str, Tensor], dec: Tensor) -> tuple[Tensor, Tensor | None]:
    """The table and bias; a tied encoder is the dictionary itself, and BatchNorm scales and shifts."""
    prefix = _LINEAR if f"{_LINEAR}weight" in w else "encoder."
    table, bias = w.get(f"{prefix}weight", dec), w.get(f"{prefix}bias")
    if f"{_NORM}running_mean" in w:
        gain, shift, mean, variance = (w[f"{_NORM}{part}"] for part in _NORM_PARTS)
        factor = gain / (variance + _BATCH_NORM_EPS).sqrt()
        table = table * factor[:, None]
        bias = ((0 if bias is None else bias) - mean) * factor + shift
    return table.T.contiguous(), bias
