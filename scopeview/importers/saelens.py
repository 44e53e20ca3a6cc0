"""SAELens checkpoints: `cfg.json` and `sae_weights.safetensors`.

Both of its config layouts are read: the flat one of versions up to 5 (`hook_layer`, `activation_fn_str`) and
the one of version 6 (`metadata.hook_name`). Architectures: standard, topk, abstopk, gated, and jumprelu, as
which SAELens also saves BatchTopK and Matryoshka BatchTopK. Its TopK keeps the k largest pre-activations and
then applies a ReLU; with `rescale_acts_by_decoder_norm` it selects as if decoder rows had unit length, which
is folded into the weights here, as SAELens itself does for inference. Of its input normalisations, layer_norm
and constant_norm_rescale are computed; expected_average_only_in and covariance_whitening are folded into the
weights when SAELens saves them, and as in SAELens nothing is done for them. Everything else that would change
the numbers (transcoders, temporal, matching_pursuit, hooks off the residual stream) is refused by name.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
from pydantic import AliasChoices, AliasPath, BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.folding import gated
from scopeview.importers.sites import residual_block
from scopeview.importers.source import (
    CONFIG_NAME,
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_finite,
    check_supported,
    check_tensors,
    files,
    folder_patterns,
    read_config,
    read_header,
    read_json,
    read_tensors,
    sae_source,
    weight_file,
)
from scopeview.sae.autoencoder import Weights
from scopeview.sae.forms import Architecture, Normalization
from scopeview.slots import Layer

WEIGHTS_NAME = "sae_weights.safetensors"
_ARCHITECTURES: dict[str, Architecture] = {
    "standard": "relu",
    "topk": "topk",
    "abstopk": "abstopk",
    "jumprelu": "jumprelu",
    "gated": "jumprelu",
}
_NORMALIZATIONS: dict[str, Normalization] = {
    "none": "none",
    "expected_average_only_in": "none",
    "covariance_whitening": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}
_FOLDED = ("expected_average_only_in", "covariance_whitening")


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
    def kind(self) -> str:
        """The architecture; versions up to 5 called TopK a standard SAE with another activation."""
        return "topk" if self.activation == "topk" else self.architecture


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository, by the folder names SAELens gives them."""
    return folder_patterns(layers, (CONFIG_NAME, WEIGHTS_NAME))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every SAELens folder at or below `root`."""
    del layers  # the config has it
    for path in files(root, WEIGHTS_NAME):
        config_path = path.with_name(CONFIG_NAME)
        if not config_path.is_file():
            raise CheckpointError(f"{path} has no {CONFIG_NAME} beside it")
        if "format" not in read_json(config_path):
            layer = _layer_of(config_path, read_config(config_path, SaeLensConfig))
            yield weight_file("saelens", root, path, layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config_path = found.path.with_name(CONFIG_NAME)
    config = read_config(config_path, SaeLensConfig)
    _refuse_unsupported(config_path, config)
    # Files of old versions carry the unused factor of a fine-tuning step that was not run.
    check_tensors(found.path, read_header(found.path), _shapes(config), allowed=["scaling_factor"])
    form = Form(
        _ARCHITECTURES[config.kind],
        k=config.k,
        normalization=_NORMALIZATIONS[config.normalize_activations],
        relu_after_topk=config.kind == "topk",
        subtract_pre_b=config.apply_b_dec_to_input,
    )
    notes = []
    if config.normalize_activations in _FOLDED:
        notes.append(
            f"says normalize_activations {config.normalize_activations!r}, which SAELens does not compute at "
            "inference: it is taken to be folded into the weights"
        )
    widths = (config.d_in, config.d_sae)
    return sae_source(found, stated, form, widths, trained_on=config.model_name, notes=notes)


def load(source: SaeSource) -> Loaded:
    config = read_config(source.path.with_name(CONFIG_NAME), SaeLensConfig)
    tensors = read_tensors(source.path, _shapes(config))
    check_finite(source.path, tensors)
    pre_b, enc, dec = tensors["b_dec"], tensors["W_enc"], tensors["W_dec"]
    if config.kind == "gated":
        gates = {"gate_b": tensors["b_gate"], "r_mag": tensors["r_mag"], "mag_b": tensors["b_mag"]}
        return Loaded(gated(pre_b, enc, dec, **gates))
    weights = Weights(pre_b, enc, dec, tensors["b_enc"], tensors.get("threshold"))
    if config.rescale_acts_by_decoder_norm and config.kind in ("topk", "abstopk"):
        weights = _rescaled(source.path, weights, tensors["b_enc"])
    return Loaded(weights)


def _shapes(config: SaeLensConfig) -> dict[str, tuple[int, ...]]:
    d_in, d_sae = config.d_in, config.d_sae
    by_feature = {"gated": ("b_gate", "r_mag", "b_mag"), "jumprelu": ("b_enc", "threshold")}
    return {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        **dict.fromkeys(by_feature.get(config.kind, ("b_enc",)), (d_sae,)),
    }


def _rescaled(path: Path, weights: Weights, enc_b: Tensor) -> Weights:
    norms = torch.linalg.vector_norm(weights.dec, dim=1)
    if not bool((norms > 0).all()):
        raise CheckpointError(
            f"{path}: W_dec has rows of length zero, which rescale_acts_by_decoder_norm divides by"
        )
    dec = weights.dec / norms[:, None]
    return weights._replace(enc=weights.enc * norms, enc_b=enc_b * norms, dec=dec)


def _layer_of(path: Path, config: SaeLensConfig) -> Layer:
    """The layer of `hook_name`, or else `hook_layer`; if both are given, they must agree."""
    if config.hook_name is None:
        if config.hook_layer is None or config.hook_layer < 0:
            raise CheckpointError(
                f"{path} does not say its layer: expected hook_name such as 'blocks.11.hook_resid_post', or "
                "hook_layer"
            )
        return config.hook_layer
    block = residual_block(path, "hook_name", config.hook_name)
    if config.hook_layer is not None and config.hook_layer != _numbered(config.hook_name, block):
        raise CheckpointError(
            f"{path}: hook_layer is {config.hook_layer} but hook_name is {config.hook_name!r}"
        )
    return block


def _numbered(hook_name: str, block: int) -> int:
    """The number in the hook's name: that of the next block where it names a block's input."""
    return block + 1 if hook_name.endswith("hook_resid_pre") else block


def _refuse_unsupported(path: Path, config: SaeLensConfig) -> None:
    supported: dict[str, tuple[object, ...]] = {
        "architecture": tuple(_ARCHITECTURES),
        "activation": (None, "relu", "topk"),
        "normalize_activations": tuple(_NORMALIZATIONS),
        "reshape_activations": ("none",),
        "finetuning_scaling_factor": (False,),
        "hook_head_index": (None,),
    }
    check_supported(path, dict(config), supported)
