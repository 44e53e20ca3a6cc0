"""VISAEBench (visaebench/clip-vitb16-saes and four more): `config.json` with `sae.pt` or `model.safetensors`.

`relu(x @ encoder.weight.T + encoder.bias)`, of which TopK keeps k, BatchTopK those at or above one threshold
(`threshold` in the config or `_running_threshold` among the tensors) and JumpReLU those above their own. The
names that Overcomplete gives its tensors are read, too. The benchmark evaluates them on activations that are
centred and divided by their root mean square deviation; the files hold neither, so both are measured on the
indexed images. Without a `layer` in the config they belong to block 11, VISAEBench's default.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from scopeview.importers.folding import inclusive
from scopeview.importers.source import (
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_finite,
    check_supported,
    check_tensors,
    check_widths,
    files,
    folder_patterns,
    read_config,
    read_header,
    read_json,
    read_tensors,
    sae_source,
    weight_file,
)
from scopeview.importers.torch_file import read_torch, specs_of, tensors_of, weights_of
from scopeview.sae.autoencoder import Weights
from scopeview.sae.forms import Architecture
from scopeview.slots import Layer

CONFIG = "config.json"
WEIGHTS_NAMES = ("sae.pt", "model.safetensors", "model.pt")
_ARCHITECTURES: dict[str, Architecture] = {
    "topk": "topk",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
}
_RENAMED = {
    "encoder.final_block.0.weight": "encoder.weight",
    "encoder.final_block.0.bias": "encoder.bias",
    "dictionary._weights": "decoder.weight",
    "thresholds": "jump_thresholds",
}
_OPTIONAL = ("decoder.bias", "jump_thresholds", "_running_threshold", "dictionary.multiplier")
_NORMALIZED = (
    "VISAEBench evaluates it on centred activations divided by their root mean square deviation; the file "
    "has neither, so both are measured on the indexed images"
)
_NO_THRESHOLD = "holds no threshold: as VISAEBench does, one of {} is taken"


class VisaeBenchConfig(BaseModel):
    """The fields of `config.json` that matter here; all others are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    activation: Annotated[
        str,
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
        Field(validation_alias=AliasChoices("activation", "sae_type", "architecture")),
    ]
    k: WholeNumber | None = None
    threshold: float | None = None
    layer: Annotated[WholeNumber, Field(ge=0)] = 11


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, (CONFIG, *WEIGHTS_NAMES[:2]))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every weight file with a config that names an activation and the width of the code."""
    del layers
    for path in files(root, *WEIGHTS_NAMES):
        config = path.with_name(CONFIG)
        if config.is_file() and _is_ours(read_json(config)):
            layer = read_config(config, VisaeBenchConfig).layer
            yield weight_file("visaebench", root, path, layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config_path = found.path.with_name(CONFIG)
    config = read_config(config_path, VisaeBenchConfig)
    check_supported(config_path, dict(config), {"activation": tuple(_ARCHITECTURES)})
    is_safetensors = found.path.suffix == ".safetensors"
    stored = read_header(found.path) if is_safetensors else specs_of(_stored(found.path))
    specs = {_RENAMED.get(name, name): spec for name, spec in stored.items()}
    encoder = specs.get("encoder.weight")
    transposed = encoder and encoder._replace(shape=encoder.shape[::-1])
    d_in, n_features = check_widths(found.path, transposed, specs.get("decoder.weight"))
    wide = (n_features, d_in)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": wide,
        "encoder.bias": (n_features,),
        "decoder.weight": wide,
    }
    limits = (n_features,) if config.activation == "jumprelu" else ()
    optional = {"decoder.bias": (d_in,), "jump_thresholds": limits, "_running_threshold": ()}
    shapes |= {name: shape for name, shape in optional.items() if name in specs}
    check_tensors(found.path, specs, shapes, allowed=["dictionary.multiplier"])
    is_topk = config.activation == "topk"
    form = Form(
        _ARCHITECTURES[config.activation],
        config.k if is_topk else None,
        normalization="center_scale",
        relu_after_topk=is_topk,
        subtract_pre_b=False,
    )
    remarks = []
    if config.activation == "batchtopk" and config.threshold is None and "_running_threshold" not in specs:
        remarks.append(_NO_THRESHOLD.format("0"))
    if config.activation == "jumprelu" and "jump_thresholds" not in specs:
        remarks.append(_NO_THRESHOLD.format("0.01"))
    return sae_source(found, stated, form, (d_in, n_features), notes=[_NORMALIZED], remarks=remarks)


def load(source: SaeSource) -> Loaded:
    config = read_config(source.path.with_name(CONFIG), VisaeBenchConfig)
    w = _tensors(source.path)
    dec = w["decoder.weight"]
    if "dictionary.multiplier" in w:
        dec = dec * w["dictionary.multiplier"].exp()
    pre_b = w.get("decoder.bias", torch.zeros(dec.shape[1]))
    threshold = _threshold(config, w, len(dec))
    enc = w["encoder.weight"].T.contiguous()
    return Loaded(Weights(pre_b, enc, dec, w["encoder.bias"], threshold))


def _threshold(config: VisaeBenchConfig, w: dict[str, Tensor], n_features: int) -> Tensor | None:
    if config.activation == "jumprelu":
        return w.get("jump_thresholds", torch.full((n_features,), 0.01))
    if config.activation == "topk":
        return None
    stored = w.get("_running_threshold", torch.tensor(0.0))
    value = stored if config.threshold is None else torch.tensor(config.threshold)
    return inclusive(value.expand(n_features).clone())


def _is_ours(config: dict[str, object]) -> bool:
    of_others = {"hook_point_layer", "trainer", "format", "model_type"}
    kinds = {"activation", "sae_type", "architecture"}
    sizes = {"hidden_dim", "expansion_factor", "input_dim"}
    return bool(kinds & set(config)) and bool(sizes & set(config)) and not of_others & set(config)


def _stored(path: Path) -> dict[str, Tensor]:
    return tensors_of(path, read_torch(path))


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        found = read_tensors(path, read_header(path))
        check_finite(path, found)
    else:
        stored = _stored(path)
        found = weights_of(path, stored, list(stored))
    return {_RENAMED.get(name, name): tensor for name, tensor in found.items()}
