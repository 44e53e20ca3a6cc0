"""dictionary_learning: `ae.pt` (a state dict) with `config.json`, or `checkpoints/ae_N.pt` below the config.

The class stands in the config (`trainer.dict_class`). Biases are saved in the units of raw activations, so
nothing normalises the input. mateuszpach/sae-for-vlm ("SAEs learn monosemantic features in VLMs") has these
files, too. The activations are those of the file's own formula; the library's `from_pretrained` additionally
multiplies those of an AutoEncoder by the lengths of the decoder's columns.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.folding import gated
from scopeview.importers.sites import named_layer, requested_layer
from scopeview.importers.source import (
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_tensors,
    check_widths,
    files,
    folder_patterns,
    read_config,
    read_json,
    sae_source,
    weight_file,
    whole_number,
)
from scopeview.importers.torch_file import read_torch, specs_of, tensors_of, weights_of
from scopeview.sae.autoencoder import Weights
from scopeview.sae.forms import Architecture
from scopeview.slots import EMBED, Layer

CONFIG = "config.json"


class _Names(NamedTuple):
    """What a class calls its tensors; `linear` tables are stored as `[out, in]`.

    With `one_threshold` there is one for all features, a scalar.
    """

    architecture: Architecture
    subtracts: bool
    pre_b: str
    enc: str
    dec: str
    by_feature: tuple[str, ...]
    linear: bool = True
    one_threshold: bool = False
    ignored: tuple[str, ...] = ()


_LINEAR = ("encoder.weight", "decoder.weight", ("encoder.bias",))
_TABLES = ("b_dec", "W_enc", "W_dec")
_CLASSES: dict[str, _Names] = {
    "AutoEncoder": _Names("relu", True, "bias", *_LINEAR),
    "AutoEncoderNew": _Names("relu", False, "decoder.bias", *_LINEAR),
    "GatedAutoEncoder": _Names(
        "jumprelu", True, "decoder_bias", *_LINEAR[:2], ("gate_bias", "r_mag", "mag_bias")
    ),
    "JumpReluAutoEncoder": _Names("jumprelu", False, *_TABLES, ("b_enc", "threshold"), linear=False),
    "AutoEncoderTopK": _Names("topk", True, "b_dec", *_LINEAR, ignored=("k", "threshold")),
    "BatchTopKSAE": _Names("jumprelu", True, "b_dec", *_LINEAR, one_threshold=True, ignored=("k",)),
    "MatryoshkaBatchTopKSAE": _Names(
        "jumprelu", True, *_TABLES, ("b_enc",), False, one_threshold=True, ignored=("k", "group_sizes")
    ),
}


class TrainerConfig(BaseModel):
    """The fields of `config.json`'s `trainer` that matter here."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    dict_class: str
    k: WholeNumber | None = None
    layer: WholeNumber | str | None = None
    submodule_name: str | None = None
    lm_name: str | None = None


class _Config(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    trainer: TrainerConfig


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, ("ae.pt", CONFIG))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `ae.pt` with its config; of the checkpoints beside it, only one that is named itself."""
    for path in files(root, "ae.pt") or (files(root, "ae_*.pt") if root.is_file() else []):
        config = _config_of(path)
        if config is not None:
            yield weight_file("dictionary-learning", root, path, _layer_of(config, layers))


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config = _read_config(found.path)
    names = _CLASSES[config.dict_class]
    tensors = _tensors(found.path)
    specs = specs_of(tensors)
    first, second = (names.dec, names.enc) if names.linear else (names.enc, names.dec)
    d_in, n_features = check_widths(found.path, specs.get(first), specs.get(second))
    shapes: dict[str, tuple[int, ...]] = {first: (d_in, n_features), second: (n_features, d_in)}
    shapes |= {names.pre_b: (d_in,), **dict.fromkeys(names.by_feature, (n_features,))}
    shapes |= {"threshold": ()} if names.one_threshold else {}
    check_tensors(found.path, specs, shapes, allowed=names.ignored)
    k = whole_number(tensors.get("k", config.k)) if names.architecture == "topk" else None
    form = Form(
        names.architecture,
        k if isinstance(k, int) else None,
        relu_after_topk=names.architecture == "topk",
        subtract_pre_b=names.subtracts,
    )
    return sae_source(found, stated, form, (d_in, n_features), trained_on=config.lm_name)


def load(source: SaeSource) -> Loaded:
    names = _CLASSES[_read_config(source.path).dict_class]
    tensors = _tensors(source.path)
    limit = ["threshold"] if names.one_threshold else []
    wanted = [names.pre_b, names.enc, names.dec, *names.by_feature, *limit]
    found = weights_of(source.path, tensors, wanted)
    pre_b, enc, dec = (found[name] for name in (names.pre_b, names.enc, names.dec))
    if names.linear:
        enc, dec = enc.T.contiguous(), dec.T.contiguous()
    if "r_mag" in found:
        gates = {"gate_b": found["gate_bias"], "r_mag": found["r_mag"], "mag_b": found["mag_bias"]}
        return Loaded(gated(pre_b, enc, dec, **gates))
    threshold = found.get("threshold")
    if threshold is not None:
        threshold = threshold.expand(enc.shape[1]).clone()
    return Loaded(Weights(pre_b, enc, dec, found[names.by_feature[0]], threshold))


def _config_of(path: Path) -> Path | None:
    """The config beside the weights, or beside the folder `checkpoints` that they are in."""
    beside = (path.with_name(CONFIG), path.absolute().parent.parent / CONFIG)
    found = (config for config in beside if config.is_file() and "trainer" in read_json(config))
    return next(found, None)


def _read_config(path: Path) -> TrainerConfig:
    config = _config_of(path)
    if config is None:
        raise CheckpointError(f"{path} has no {CONFIG} with its trainer beside it")
    trainer = read_config(config, _Config).trainer
    if trainer.dict_class not in _CLASSES:
        raise CheckpointError(
            f"{config}: dict_class is {trainer.dict_class!r}; supported: {', '.join(map(repr, _CLASSES))}"
        )
    return trainer


def _layer_of(config: Path, layers: Sequence[Layer] | None) -> Layer:
    trainer = read_config(config, _Config).trainer
    if trainer.submodule_name is not None and not _is_plain(trainer):
        return named_layer(config, "submodule_name", trainer.submodule_name, layers)
    if isinstance(trainer.layer, int) and trainer.layer >= 0:
        return trainer.layer
    return EMBED if trainer.layer == EMBED else requested_layer(config, layers)


def _is_plain(trainer: TrainerConfig) -> bool:
    """True where the submodule's name says no more than the layer does, such as `resid_post`."""
    return trainer.submodule_name in ("resid_post", "residual", "resid", f"resid_post_layer_{trainer.layer}")


def _tensors(path: Path) -> dict[str, Tensor]:
    content: Any = read_torch(path)
    state: Mapping[str, object] = content.get("state_dict", content) if isinstance(content, dict) else content
    return tensors_of(path, state)
