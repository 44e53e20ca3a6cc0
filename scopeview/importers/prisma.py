"""Prisma (ViT-Prisma) SAEs: `config.json` and a state dict such as `n_images_2600058.pt`, or both in one.

In files of the older kind the config is a dict, or a pickled instance of Prisma's class, which a stand-in
reads. ReLU, TopK with ReLU, and gated; the input is layer-normed by default. The site is
`blocks.{hook_point_layer}.{layer_subtype}`; `cached_activations_path` often names another layer and is not
looked at. Transcoders and other sites than the residual stream are refused by name.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.folding import gated
from scopeview.importers.sites import residual_block
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
    folder_patterns,
    read_json,
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
from scopeview.sae.forms import Normalization
from scopeview.slots import Layer

CONFIG = "config.json"
_STAND_INS: tuple[StandIn, ...] = (
    (PickledConfig, "vit_prisma.sae.config.VisionModelSAERunnerConfig"),
    (PickledConfig, "vit_prisma.configs.HookedViTConfig.HookedViTConfig"),
)
_NORMALIZATIONS: dict[str, Normalization] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm",
}
_TABLES = ("W_enc", "W_dec", "b_dec")
_GATES = ("b_gate", "r_mag", "b_mag")


def _only_one(value: object) -> object:
    """Sweeps wrote lists of one value."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class PrismaConfig(BaseModel):
    """The fields of Prisma's config that affect the numbers; all others are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    d_in: Annotated[WholeNumber, Field(ge=1)]
    hook_point_layer: Annotated[WholeNumber, BeforeValidator(_only_one)]
    layer_subtype: str = "hook_resid_post"
    architecture: str = "standard"
    activation_fn_str: str = "relu"
    k: WholeNumber | None = Field(None, validation_alias=AliasPath("activation_fn_kwargs", "k"))
    normalize_activations: Annotated[str, BeforeValidator(lambda value: value or "none")] = "none"
    is_transcoder: bool = False
    hook_point_head_index: int | None = None
    model_name: str | None = None
    cls_token_only: bool = False
    use_patches_only: bool = False

    @property
    def hook(self) -> str:
        return f"blocks.{self.hook_point_layer}.{self.layer_subtype}"


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, (CONFIG, "n_images_*.pt"))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `.pt` file with Prisma's config beside it or in it."""
    del layers  # the config has it
    for path in torch_files(root, "*.pt"):
        values = _values(path)
        if values is not None:
            config = validate(path, values, PrismaConfig)
            _refuse_unsupported(path, config)
            layer = residual_block(path, "hook_point_layer with layer_subtype", config.hook)
            yield weight_file("prisma", root, path, layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    config, tensors = _read(found.path)
    specs = specs_of(tensors)
    d_in, n_features = check_widths(found.path, specs.get("W_enc"), specs.get("W_dec"))
    is_gated = config.architecture == "gated"
    by_feature = _GATES if is_gated else ("b_enc",)
    shapes = dict(zip(_TABLES, ((d_in, n_features), (n_features, d_in), (d_in,)), strict=True))
    shapes |= dict.fromkeys(by_feature, (n_features,))
    check_tensors(found.path, specs, shapes, allowed=["b_enc"])  # which a gated one has and does not use
    check_sizes(found.path, dict(config), {"d_in": d_in})
    is_topk = config.activation_fn_str == "topk"
    form = Form(
        "jumprelu" if is_gated else "topk" if is_topk else "relu",
        config.k if is_topk else None,
        normalization=_NORMALIZATIONS[config.normalize_activations],
        relu_after_topk=is_topk,
    )
    only = "CLS" if config.cls_token_only else "patches" if config.use_patches_only else None
    remarks = [f"was trained on {only} only"] if only else []
    widths = (d_in, n_features)
    return sae_source(found, stated, form, widths, trained_on=config.model_name, remarks=remarks)


def load(source: SaeSource) -> Loaded:
    config, tensors = _read(source.path)
    is_gated = config.architecture == "gated"
    w = weights_of(source.path, tensors, [*_TABLES, *(_GATES if is_gated else ["b_enc"])])
    if is_gated:
        gates = {"gate_b": w["b_gate"], "r_mag": w["r_mag"], "mag_b": w["b_mag"]}
        return Loaded(gated(w["b_dec"], w["W_enc"], w["W_dec"], **gates))
    return Loaded(Weights(w["b_dec"], w["W_enc"], w["W_dec"], w["b_enc"]))


def _values(path: Path) -> Mapping[str, object] | None:
    """The config beside a weight file, or in it; None for a file that is not Prisma's."""
    config = path.with_name(CONFIG)
    if config.is_file() and "hook_point_layer" in (beside := read_json(config)):
        return beside
    found = _in_one_file(path)
    return None if found is None else _as_dict(found["cfg"])


def _in_one_file(path: Path) -> dict[str, Any] | None:
    """The content of a file that has both config and state dict; None for any other."""
    try:
        content = read_torch(path, _STAND_INS)
    except (CheckpointError, OSError):
        return None
    whole = isinstance(content, dict) and "state_dict" in content
    return content if whole and "hook_point_layer" in _as_dict(content.get("cfg")) else None


def _as_dict(config: object) -> Mapping[str, object]:
    if isinstance(config, dict):
        return config
    return vars(config) if isinstance(config, PickledConfig) else {}


def _read(path: Path) -> tuple[PrismaConfig, dict[str, Tensor]]:
    values, whole = _values(path), _in_one_file(path)
    assert values is not None
    state = read_torch(path) if whole is None else whole["state_dict"]
    return validate(path, values, PrismaConfig), tensors_of(path, state)


def _refuse_unsupported(path: Path, config: PrismaConfig) -> None:
    if config.is_transcoder:
        raise CheckpointError(f"{path} is a transcoder (is_transcoder is true); supported are autoencoders")
    activations = ("relu",) if config.architecture == "gated" else ("relu", "topk")
    supported: dict[str, tuple[object, ...]] = {
        "architecture": ("standard", "gated"),
        "activation_fn_str": activations,
        "normalize_activations": tuple(_NORMALIZATIONS),
        "hook_point_head_index": (None,),
    }
    check_supported(path, dict(config), supported)
