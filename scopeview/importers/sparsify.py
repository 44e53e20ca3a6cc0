"""sparsify (EleutherAI): a folder per hook point with `cfg.json` and `sae.safetensors`; TopK and GroupMax.

The folder's name is the hook point: `layers.11`, `vision_model.encoder.layers.11`. The encoder subtracts the
decoder's bias, adds its own and applies a ReLU before it selects. Transcoders (`transcode`,
`skip_connection`) and hook points off the residual stream are refused by name.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from scopeview.errors import CheckpointError
from scopeview.importers.sites import named_layer
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
from scopeview.slots import Layer

WEIGHTS_NAME = "sae.safetensors"
TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")


class SparsifyConfig(BaseModel):
    """The fields of `cfg.json` that affect the numbers; all others are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    d_in: Annotated[WholeNumber, Field(ge=1)]
    k: WholeNumber
    activation: str = "topk"
    signed: bool = False
    transcode: bool = False
    skip_connection: bool = False


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, (CONFIG_NAME, WEIGHTS_NAME))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `sae.safetensors` with a config that is not Scopeview's own."""
    for path in files(root, WEIGHTS_NAME):
        config = path.with_name(CONFIG_NAME)
        if config.is_file() and "format" not in read_json(config):
            layer = named_layer(path, "the hook point (its folder)", path.absolute().parent.name, layers)
            yield weight_file("sparsify", root, path, layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config_path = found.path.with_name(CONFIG_NAME)
    config = read_config(config_path, SparsifyConfig)
    supported: dict[str, tuple[object, ...]] = {
        "activation": ("topk", "groupmax"),
        "signed": (False,),
        "transcode": (False,),
        "skip_connection": (False,),
    }
    check_supported(config_path, dict(config), supported)
    header = read_header(found.path)
    encoder = header.get("encoder.weight")
    if encoder is None or len(encoder.shape) != 2:
        raise CheckpointError(
            f"{found.path}: encoder.weight is {encoder or 'missing'}; expected [n_features, {config.d_in}]"
        )
    d_in, n_features = config.d_in, encoder.shape[0]
    wide = (n_features, d_in)
    check_tensors(found.path, header, dict(zip(TENSORS, (wide, (n_features,), wide, (d_in,)), strict=True)))
    form = Form("groupmax" if config.activation == "groupmax" else "topk", config.k, relu_after_topk=True)
    return sae_source(found, stated, form, (d_in, n_features))


def load(source: SaeSource) -> Loaded:
    tensors = read_tensors(source.path, TENSORS)
    check_finite(source.path, tensors)
    enc = tensors["encoder.weight"].T.contiguous()
    return Loaded(Weights(tensors["b_dec"], enc, tensors["W_dec"], tensors["encoder.bias"]))
