"""SAEs of HugoFry's `mats_sae_training_for_ViTs` and what grew from it: PatchSAE and ConceptScope.

One file, `.pt`, `.pkl` or `.pkl.gz`: `{"cfg" or "config", "state_dict"}`. The config is a dict, or a pickled
instance of the project's own class, which a stand-in reads: nothing is executed. All are ReLU SAEs that
subtract the decoder's bias, on the residual stream of OpenAI's CLIP, whose input is not normalised. The layer
counts from the end where it is negative: the published ones have -2.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from scopeview.errors import CheckpointError
from scopeview.importers.pickled import read_pickle
from scopeview.importers.sites import requested_layer
from scopeview.importers.source import (
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    WholeNumber,
    check_sizes,
    check_supported,
    check_tensors,
    check_widths,
    sae_source,
    validate,
    weight_file,
)
from scopeview.importers.torch_file import (
    PickledConfig,
    StandIn,
    read_torch,
    specs_of,
    tensors_of,
    torch_files,
    weights_of,
)
from scopeview.sae.autoencoder import Weights
from scopeview.slots import Layer

TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
_NAMES = ("*.pt", "*.pkl", "*.pkl.gz")
_HUB_NAMES = ("*.pkl.gz", "*sparse_autoencoder_*.pt", "*_resid_*.pt")


class RunnerConfig(PickledConfig):
    """Stands in for the classes below."""


_STAND_INS: tuple[StandIn, ...] = tuple(
    (RunnerConfig, f"{module}.{name}")
    for module in ("sae_training.config", "src.sae_training.config")
    for name in ("ViTSAERunnerConfig", "Config")
)
_N_BLOCKS = {"base": 12, "large": 24}  # of OpenAI's CLIPs
_OPENAI = re.compile(r"(?:openai/)?clip-vit-(base|large)-patch\d+(?:-336)?")


class VitSaeConfig(BaseModel):
    """The fields of the config that matter here; all others are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    d_in: Annotated[WholeNumber, Field(ge=1)]
    model_name: str | None = None
    module_name: str = "resid"
    block_layer: WholeNumber | None = None
    gated_sae: bool = False


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the usual names of these files in a repository; they say no layer."""
    del layers
    return list(_HUB_NAMES)


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every file that holds a config of these projects beside a state dict."""
    for path in torch_files(root, *_NAMES):
        try:
            content = _read(path)
        except (CheckpointError, OSError):
            if root.is_file() and path.suffix != ".pt":  # of no other reader
                raise
            continue
        if content is not None:
            config = _config(path, content)
            yield weight_file("vit-sae", root, path, _layer_of(path, config, layers))


def read(found: WeightFile, stated: Stated) -> SaeSource:
    content = _known(found.path)
    config, tensors = _config(found.path, content), tensors_of(found.path, content["state_dict"])
    check_supported(found.path, dict(config), {"module_name": ("resid",), "gated_sae": (False,)})
    specs = specs_of(tensors)
    d_in, n_features = check_widths(found.path, specs.get("W_enc"), specs.get("W_dec"))
    shapes = ((d_in, n_features), (n_features,), (n_features, d_in), (d_in,))
    check_tensors(found.path, specs, dict(zip(TENSORS, shapes, strict=True)))
    check_sizes(found.path, dict(config), {"d_in": d_in})
    return sae_source(found, stated, Form("relu"), (d_in, n_features), trained_on=config.model_name)


def load(source: SaeSource) -> Loaded:
    tensors = tensors_of(source.path, _known(source.path)["state_dict"])
    w = weights_of(source.path, tensors, TENSORS)
    return Loaded(Weights(w["b_dec"], w["W_enc"], w["W_dec"], w["b_enc"]))


def _read(path: Path) -> Mapping[str, Any] | None:
    """The file's content; None for a file of another project."""
    read = read_torch if path.suffix == ".pt" else read_pickle
    content = read(path, _STAND_INS)
    is_known = isinstance(content, dict) and "state_dict" in content and _values(content) is not None
    return content if is_known else None


def _known(path: Path) -> Mapping[str, Any]:
    content = _read(path)
    assert content is not None
    return content


def _values(content: Mapping[str, Any]) -> Mapping[str, object] | None:
    """The config's values, if they are of these projects: a dict of Prisma's has no `block_layer`."""
    config = content.get("cfg", content.get("config"))
    values = vars(config) if isinstance(config, RunnerConfig) else config
    return values if isinstance(values, dict) and {"d_in", "block_layer"} <= set(values) else None


def _config(path: Path, content: Mapping[str, Any]) -> VitSaeConfig:
    values = _values(content)
    assert values is not None
    return validate(path, values, VitSaeConfig)


def _layer_of(path: Path, config: VitSaeConfig, layers: Sequence[Layer] | None) -> Layer:
    layer = config.block_layer
    if layer is not None and layer >= 0:
        return layer
    model = _OPENAI.fullmatch(config.model_name or "")
    if layer is None or model is None:
        return requested_layer(path, layers)
    return _N_BLOCKS[model[1]] + layer
