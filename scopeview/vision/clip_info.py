"""A model's sizes, from its configs alone, and whether requested layers and tokens exist in it.

This allows refusing a wrong layer before any weight is fetched or read. Knows no weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, CLIPConfig
from transformers.activations import ACT2FN

from scopeview.errors import InputError, ModelError, NoTextError
from scopeview.hub import Resolved
from scopeview.slots import CLS, EMBED, Layer, Token, token_number
from scopeview.store.files import read_json
from scopeview.vision.patches import center_token
from scopeview.vision.preprocess import Preprocessing

MODEL_CONFIG_NAME = "config.json"
_EXPECTED = "a CLIPModel of transformers"
_CLIP = ("clip", "clip_vision_model")
# Models whose positions fit images of any size: the preprocessing says the size, not `image_size`.
_ANY_SIZE = ("dinov2", "dinov2_with_registers", "dinov3_vit")
FAMILIES = {
    "clip": "CLIP",
    "clip_vision_model": "CLIP",
    "vit": "ViT",
    "vit_mae": "MAE",
    "deit": "DeiT",
    "dinov2": "DINOv2",
    "dinov2_with_registers": "DINOv2",
    "dinov3_vit": "DINOv3",
}
"""The families that Scopeview opens, by `model_type` of transformers."""


@dataclass(frozen=True)
class ClipInfo:
    """A model's sizes, from its configs alone. `revision` is the hub's commit hash, None for a local folder.

    `projection_dim` is the width of the image embedding. `n_registers` counts the tokens that are neither CLS
    nor patches (registers, DeiT's distillation token): they are run, and no layer shows them.
    """

    ref: str
    revision: str | None
    n_layers: int
    width: int
    projection_dim: int
    image_px: int
    patch_px: int
    family: str = "CLIP"
    n_registers: int = 0

    @property
    def grid(self) -> int:
        """The number of patches per side."""
        return self.image_px // self.patch_px

    @property
    def n_tokens(self) -> int:
        """The number of tokens: CLS and the patches."""
        return self.grid**2 + 1

    def d_in(self, layer: Layer) -> int:
        """The width of an activation at that layer."""
        return self.projection_dim if layer == EMBED else self.width


def read_info(model: Resolved | Path) -> ClipInfo:
    """Reads the sizes from the configs alone, before any weight is read. Raises `ModelError`."""
    folder = model if isinstance(model, Path) else model.path
    vision = read_vision_config(folder / MODEL_CONFIG_NAME)
    return ClipInfo(
        ref=str(model) if isinstance(model, Path) else model.ref,
        revision=None if isinstance(model, Path) else model.revision,
        n_layers=vision.num_hidden_layers,
        width=vision.hidden_size,
        projection_dim=vision.projection_dim,
        image_px=_image_px(folder, vision),
        patch_px=vision.patch_size,
        family=vision.family,
        n_registers=_n_registers(vision),
    )


def _image_px(folder: Path, vision: Any) -> int:
    if vision.model_type not in _ANY_SIZE:
        return int(vision.image_size)
    size = Preprocessing.from_folder(folder).output_px()
    if size is None or size[0] != size[1] or size[0] < vision.patch_size:
        raise ModelError(
            f"{folder}: its preprocessing gives images of {size or 'any'} pixels (height, width); expected a"
            f" square of at least {vision.patch_size} pixels, the size of a patch"
        )
    return size[0]


def _n_registers(vision: Any) -> int:
    """The number of tokens between CLS and the patches."""
    return 1 if vision.model_type == "deit" else int(getattr(vision, "num_register_tokens", 0))


def check_layers(info: ClipInfo, layers: Sequence[Layer]) -> None:
    """Raises `InputError` for a layer that the model does not have."""
    for layer in layers:
        if layer != EMBED and not (isinstance(layer, int) and 0 <= layer < info.n_layers):
            raise InputError(
                f"layer {layer} does not exist: {info.ref} has blocks 0 to {info.n_layers - 1}, and 'embed'"
            )


def check_tokens(info: ClipInfo, tokens: Sequence[Token]) -> None:
    """Raises `InputError` for a token that the model does not have."""
    for token in tokens:
        number = token_number(token)
        if number is not None and not 0 <= number < info.n_tokens:
            raise InputError(
                f"token {token} does not exist: {info.ref} has 'cls', 1 to {info.n_tokens - 1}, and 'any'"
            )


def default_tokens(info: ClipInfo) -> list[Token]:
    """CLS and the patch in the middle of the image: token 137 on a 16 x 16 grid."""
    return [CLS, str(center_token(info.grid))]


def read_vision_config(path: Path) -> Any:
    """The config of the vision tower; `projection_dim` is the width of its image embedding."""
    if not path.is_file():
        raise ModelError(f"{path} is missing: {_expected_folder(path.parent)}")
    try:
        values = read_json(path)
        kind = values.get("model_type")
        vision = _clip_vision(values) if kind not in FAMILIES or kind in _CLIP else _plain_vision(values)
        _check_sizes(vision)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # huggingface_hub's own validation errors share no narrower base
        raise ModelError(f"{path} is not a config of a vision model: {error}") from error
    return vision


def _clip_vision(values: dict[str, Any]) -> Any:
    config = CLIPConfig(**_clip_values(values))
    vision: Any = config.vision_config
    vision.projection_dim = config.projection_dim
    vision.family = FAMILIES["clip"]
    return vision


def _plain_vision(values: dict[str, Any]) -> Any:
    """The config of a model whose image embedding is the layer-normed CLS token after the last block."""
    kind = values["model_type"]
    if kind == "vit_mae":  # its encoder is a ViT, which masks nothing
        values = {**values, "model_type": "vit"}
    settings = {name: value for name, value in values.items() if name != "model_type"}
    vision: Any = AutoConfig.for_model(values["model_type"], **settings)
    vision.projection_dim = vision.hidden_size
    vision.family = FAMILIES[kind]
    return vision


def _clip_values(values: dict[str, Any]) -> dict[str, Any]:
    """The config, checked to be a `CLIPModel`'s. Raises `ValueError` that says what it is instead."""
    kind = values.get("model_type")
    if kind == "clip":
        return values
    if kind == "clip_vision_model":
        if "CLIPVisionModel" in (values.get("architectures") or []):
            raise ValueError(
                "it is a CLIPVisionModel, which has no projection to the image embedding; expected a "
                "CLIPVisionModelWithProjection or a CLIPModel"
            )
        wrapped = {"model_type": "clip", "vision_config": values}
        return wrapped | {name: values[name] for name in ("projection_dim",) if name in values}
    if kind is None and "pretrained_cfg" in values:
        name = values.get("architecture", "unnamed")
        raise ValueError(f"it is a timm model ({name}); expected {_EXPECTED}, whose weights have other names")
    if kind is None and "_class_name" in values:
        raise ValueError(f"it is a diffusers model ({values['_class_name']}); expected {_EXPECTED}")
    raise ValueError(f"model_type is {kind!r}; expected one of {', '.join(map(repr, FAMILIES))}")


def _expected_folder(folder: Path) -> str:
    if (folder / "open_clip_config.json").is_file():
        return f"the folder holds a model of open_clip; expected {_EXPECTED}, whose weights have other names"
    if (folder / "model_index.json").is_file():
        return f"the folder holds a pipeline of diffusers; expected the folder of {_EXPECTED}"
    return f"expected the folder of {_EXPECTED}"


def read_text_config(path: Path) -> Any:
    """The text half of a `CLIPModel`'s config, with the projection of the whole model.

    Raises `NoTextError` for a model of another family, which has no text encoder.
    """
    vision = read_vision_config(path)  # what is wrong with the file is said there
    values = read_json(path)
    if values.get("model_type") not in _CLIP:
        raise NoTextError(f"{path}: {vision.family} models have no text encoder; expected {_EXPECTED}")
    config = CLIPConfig(**_clip_values(values))
    text: Any = config.text_config
    text.projection_dim = config.projection_dim
    return text


def _check_sizes(vision: Any) -> None:
    names = ("num_hidden_layers", "hidden_size", "projection_dim", "image_size", "patch_size")
    for name in names:
        value = getattr(vision, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number above 0")
    if vision.hidden_act not in ACT2FN:
        raise ValueError(f"hidden_act is {vision.hidden_act!r}, which transformers does not know")
    if vision.patch_size > vision.image_size or vision.num_channels != 3:
        raise ValueError(
            f"patches of {vision.patch_size} px in {vision.num_channels} x {vision.image_size} px images; "
            f"expected 3 colours and patches no larger than the image"
        )
