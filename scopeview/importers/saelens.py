"""SAELens checkpoints: `cfg.json` and `sae_weights.safetensors`, architectures `standard` and `topk`.

Both of its config layouts are read: the flat one of versions up to 5 (`hook_layer`, `activation_fn_str`) and
the one of version 6 (`metadata.hook_name`). Its TopK keeps the k largest pre-activations and then applies a
ReLU; with `rescale_acts_by_decoder_norm` it selects as if decoder rows had unit length, which is folded into
the weights here, as SAELens itself does for inference. Unsupported settings that would change the numbers
(input normalisation, gated or jumprelu units, hooks off the residual stream) are refused by name.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, ConfigDict, Field

from scopeview.errors import CheckpointError
from scopeview.importers.source import (
    CONFIG_NAME,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_finite,
    check_k,
    check_stated,
    check_tensors,
    folder_patterns,
    read_config,
    read_header,
    read_json,
    read_tensors,
)
from scopeview.sae.autoencoder import Architecture, SaeConfig, Weights
from scopeview.sae.model_match import TrainedOn
from scopeview.slots import Layer
from scopeview.store.files import file_sha256

WEIGHTS_NAME = "sae_weights.safetensors"
TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")
# The residual stream after a block, as TransformerLens, transformers and open_clip name it.
_RESIDUAL = re.compile(
    r"(?:blocks\.(?P<after>\d+)\.hook_resid_post|blocks\.(?P<before>\d+)\.hook_resid_pre"
    r"|(?:vision_model\.)?encoder\.layers\.(?P<layers>\d+)"
    r"|visual\.transformer\.resblocks\.(?P<resblocks>\d+)|layer_(?P<layer>\d+))"
)


def _in_metadata(name: str) -> AliasChoices:
    return AliasChoices(name, AliasPath("metadata", name))


def _none_for_false(value: object) -> object:
    """Maps the null and false of old versions to their word for none."""
    return "none" if value is None or value is False else value


class SaeLensConfig(BaseModel):
    """The fields of `cfg.json` that affect the numbers; all others are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    d_in: Annotated[WholeNumber, Field(ge=1)]
    d_sae: Annotated[WholeNumber, Field(ge=1)]
    architecture: str = "standard"
    activation: str | None = Field(None, validation_alias=AliasChoices("activation_fn_str", "activation_fn"))
    k: WholeNumber | None = Field(
        None, validation_alias=AliasChoices("k", AliasPath("activation_fn_kwargs", "k"))
    )
    hook_name: str | None = Field(
        None, validation_alias=AliasChoices("hook_name", AliasPath("metadata", "hook_name"), "hook_point")
    )
    hook_layer: WholeNumber | None = Field(
        None,
        validation_alias=AliasChoices("hook_layer", AliasPath("metadata", "hook_layer"), "hook_point_layer"),
    )
    hook_head_index: int | None = Field(None, validation_alias=_in_metadata("hook_head_index"))
    model_name: str | None = Field(None, validation_alias=_in_metadata("model_name"))
    apply_b_dec_to_input: bool = True
    normalize_activations: Annotated[str, BeforeValidator(_none_for_false)] = "none"
    reshape_activations: str = "none"
    rescale_acts_by_decoder_norm: bool = False
    finetuning_scaling_factor: bool = False

    @property
    def is_topk(self) -> bool:
        return self.architecture == "topk" or self.activation == "topk"


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository, by the folder names SAELens gives them."""
    return folder_patterns(layers, (CONFIG_NAME, WEIGHTS_NAME))


def find(root: Path) -> Iterator[WeightFile]:
    """Every SAELens folder at or below `root`."""
    for path in sorted(root.rglob(WEIGHTS_NAME)):
        config_path = path.with_name(CONFIG_NAME)
        if not config_path.is_file():
            raise CheckpointError(f"{path} has no {CONFIG_NAME} beside it")
        if "format" not in read_json(config_path):
            layer = _layer_of(config_path, read_config(config_path, SaeLensConfig))
            yield WeightFile("saelens", layer, path, path.relative_to(root).as_posix())


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config_path = found.path.with_name(CONFIG_NAME)
    config = read_config(config_path, SaeLensConfig)
    _refuse_unsupported(config_path, config)
    d_in, d_sae = config.d_in, config.d_sae
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_enc": (d_sae,), "b_dec": (d_in,)}
    # Files of old versions carry the unused factor of a fine-tuning step that was not run.
    check_tensors(found.path, read_header(found.path), shapes, allowed=["scaling_factor"])
    architecture: Architecture = "topk" if config.is_topk else "relu"
    found_k = stated.k if config.k is None else config.k
    k = check_k(config_path, found_k, d_sae) if config.is_topk else None
    check_stated(config_path, stated, architecture, k)
    sae_config = SaeConfig(
        architecture=architecture,
        layer=found.layer,
        d_in=d_in,
        n_features=d_sae,
        k=k,
        normalization="none",
        source=found.name,
        sha256=file_sha256(found.path),
        relu_after_topk=config.is_topk,
        subtract_pre_b=config.apply_b_dec_to_input,
    )
    trained_on = TrainedOn(config.model_name) if config.model_name else None
    return SaeSource("saelens", found.path, sae_config, trained_on)


def load(source: SaeSource) -> Loaded:
    tensors = read_tensors(source.path, TENSORS)
    check_finite(source.path, tensors)
    enc, dec, enc_b = tensors["W_enc"], tensors["W_dec"], tensors["b_enc"]
    if read_config(source.path.with_name(CONFIG_NAME), SaeLensConfig).rescale_acts_by_decoder_norm:
        norms = torch.linalg.vector_norm(dec, dim=1)
        if not bool((norms > 0).all()):
            raise CheckpointError(
                f"{source.path}: W_dec has rows of length zero, which rescale_acts_by_decoder_norm divides by"
            )
        enc, enc_b, dec = enc * norms, enc_b * norms, dec / norms[:, None]
    return Loaded(Weights(tensors["b_dec"], enc, dec, enc_b))


def _layer_of(path: Path, config: SaeLensConfig) -> Layer:
    """The layer of `hook_name`, or else `hook_layer`; if both are given, they must agree."""
    if config.hook_name is None:
        if config.hook_layer is None or config.hook_layer < 0:
            raise CheckpointError(
                f"{path} does not say its layer: expected hook_name such as 'blocks.11.hook_resid_post', or "
                "hook_layer"
            )
        return config.hook_layer
    hook = _RESIDUAL.fullmatch(config.hook_name)
    if hook is None:
        raise CheckpointError(
            f"{path}: hook_name is {config.hook_name!r}; supported is the residual stream after a block, "
            "such as 'blocks.11.hook_resid_post'"
        )
    block = int(hook[hook.lastgroup or 0])
    if config.hook_layer not in (None, block):
        raise CheckpointError(
            f"{path}: hook_layer is {config.hook_layer} but hook_name is {config.hook_name!r}"
        )
    if hook.lastgroup != "before":
        return block
    if block == 0:
        raise CheckpointError(
            f"{path}: {config.hook_name} is before the first block; supported is after a block"
        )
    return block - 1  # what enters a block is what left the one before it


def _refuse_unsupported(path: Path, config: SaeLensConfig) -> None:
    supported: dict[str, tuple[object, ...]] = {
        "architecture": ("standard", "topk"),
        "activation": (None, "relu", "topk"),
        "normalize_activations": ("none",),
        "reshape_activations": ("none",),
        "finetuning_scaling_factor": (False,),
        "hook_head_index": (None,),
    }
    for name, accepted in supported.items():
        value = getattr(config, name)
        if value not in accepted:
            names = ", ".join(repr(a) for a in accepted if a is not None)
            raise CheckpointError(f"{path}: {name} is {value!r}; supported: {names or 'absent'}")
