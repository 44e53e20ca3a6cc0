"""The families of vision transformers that Scopeview runs: where each keeps its parts, and how it is loaded.

A tower knows how pixels become tokens, how one block runs (for all tokens or for some), and how the output of
the last block becomes the image embedding. `clip` runs it and taps it. All towers are modules of
transformers, whose tests hold them against the authors' own code. Rows of a tower: CLS, registers, patches.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPVisionModelWithProjection,
    DeiTModel,
    Dinov2Model,
    Dinov2WithRegistersModel,
    DINOv3ViTModel,
    ViTModel,
)
from transformers.models.dinov3_vit.modeling_dinov3_vit import apply_rotary_pos_emb
from transformers.utils import logging

from scopeview.errors import ModelError
from scopeview.vision import weights


class Tower:
    """A vision transformer of one family. Subclasses say where its parts are; this runs them."""

    model_class: ClassVar[Any]
    norms: ClassVar[tuple[str, str]]
    attention: ClassVar[str] = "attention"
    output: ClassVar[str] = "o_proj"
    heads: ClassVar[str] = "num_attention_heads"
    scale: ClassVar[str] = "scaling"

    def __init__(self, model: Any, image_px: int) -> None:  # noqa: ARG002  # which some families need
        self.model = model

    @property
    def blocks(self) -> Any:
        """The transformer blocks, in order."""
        raise NotImplementedError

    @property
    def weight(self) -> Tensor:
        """A weight, whose device and dtype are the tower's."""
        return cast(Tensor, next(self.model.parameters()))

    def enter(self, pixels: Float[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch row width"]:
        """The tokens that enter block 0, from normalized pixels."""
        return cast(Tensor, self.model.embeddings(pixels.to(self.weight.dtype)))

    def run_block(
        self, number: int, residual: Float[Tensor, "batch row width"]
    ) -> Float[Tensor, "batch row width"]:
        """The output of a block: `hidden_states[number + 1]` of transformers."""
        output = self.blocks[number](residual, None)
        # A tensor in transformers 5; a tuple in 4, of which `output[0]` must not be taken from a tensor.
        return cast(Tensor, output[0] if isinstance(output, tuple) else output)

    def run_block_at(
        self, number: int, residual: Float[Tensor, "batch row width"], rows: Sequence[int]
    ) -> Float[Tensor, "batch kept width"]:
        """The output of a block for these rows only; attention still reads all rows."""
        block, chosen = self.blocks[number], list(rows)
        attention = getattr(block, self.attention)
        normed, at = getattr(block, self.norms[0])(residual), residual[:, chosen]
        queries, keys = self._queries_and_keys(attention, normed, chosen)
        values = self._heads(attention, attention.v_proj(normed))
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, scale=getattr(attention, self.scale)
        )
        attended = getattr(attention, self.output)(mixed.transpose(1, 2).flatten(2))
        at = at + self._scaled(block, 1, attended)
        return at + self._scaled(block, 2, block.mlp(getattr(block, self.norms[1])(at)))

    def embed(self, residual: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch projection"]:
        """The image embedding, not normalized, in float32, from rows of the last block; row 0 is CLS."""
        return cast(Tensor, self.model.layernorm(residual[:, 0]).float())

    def _queries_and_keys(self, attention: Any, normed: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
        queries = self._heads(attention, attention.q_proj(normed[:, rows]))
        return queries, self._heads(attention, attention.k_proj(normed))

    def _heads(self, attention: Any, projected: Tensor) -> Tensor:
        shape = (getattr(attention, self.heads), attention.head_dim)
        heads: Tensor = cast(Any, projected).unflatten(2, shape).transpose(1, 2)
        return heads

    def _scaled(self, block: Any, half: int, output: Tensor) -> Tensor:  # noqa: ARG002
        """What a half of a block adds to the residual stream, from what its attention or MLP puts out."""
        return output


class ClipTower(Tower):
    """CLIP's: layer-normed before the first block, projected after the last."""

    model_class: ClassVar[Any] = CLIPVisionModelWithProjection
    norms = ("layer_norm1", "layer_norm2")
    attention, output, heads, scale = "self_attn", "out_proj", "num_heads", "scale"

    @property
    def blocks(self) -> Any:
        return self.model.vision_model.encoder.layers

    @property
    def weight(self) -> Tensor:
        return cast(Tensor, self.model.visual_projection.weight)

    def enter(self, pixels: Float[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch row width"]:
        tower = self.model.vision_model
        return cast(Tensor, tower.pre_layrnorm(tower.embeddings(pixels)))

    def embed(self, residual: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch projection"]:
        cls = self.model.vision_model.post_layernorm(residual[:, 0])
        return cast(Tensor, self.model.visual_projection(cls).float())


class VitTower(Tower):
    """ViT's, and MAE's encoder, which has the same parts and is run without its masks."""

    model_class: ClassVar[Any] = ViTModel
    norms = ("layernorm_before", "layernorm_after")

    @property
    def blocks(self) -> Any:
        return self.model.layers


class DeitTower(VitTower):
    """DeiT's with a distillation token, which stands where others have registers."""

    model_class: ClassVar[Any] = DeiTModel


class Dinov2Tower(Tower):
    """DINOv2's, whose blocks scale what they add. Its positions are resized to the images."""

    model_class: ClassVar[Any] = Dinov2Model
    norms = ("norm1", "norm2")

    @property
    def blocks(self) -> Any:
        return self.model.encoder.layer

    def _scaled(self, block: Any, half: int, output: Tensor) -> Tensor:
        return cast(Tensor, getattr(block, f"layer_scale{half}")(output))


class Dinov2WithRegistersTower(Dinov2Tower):
    """DINOv2's with registers."""

    model_class: ClassVar[Any] = Dinov2WithRegistersModel


class Dinov3Tower(Dinov2Tower):
    """DINOv3's: attention turns queries and keys of patches by their place (RoPE)."""

    model_class: ClassVar[Any] = DINOv3ViTModel
    heads = "num_heads"

    def __init__(self, model: Any, image_px: int) -> None:
        super().__init__(model, image_px)
        weight = self.weight
        with torch.inference_mode():
            blank = torch.zeros(1, 3, image_px, image_px, device=weight.device, dtype=weight.dtype)
            self._rotations: tuple[Tensor, Tensor] = model.rope_embeddings(blank)

    @property
    def blocks(self) -> Any:
        return self.model.model.layer

    def run_block(
        self, number: int, residual: Float[Tensor, "batch row width"]
    ) -> Float[Tensor, "batch row width"]:
        return cast(Tensor, self.blocks[number](residual, position_embeddings=self._rotations))

    def embed(self, residual: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch projection"]:
        return cast(Tensor, self.model.norm(residual[:, 0]).float())

    def _queries_and_keys(self, attention: Any, normed: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
        queries = self._heads(attention, attention.q_proj(normed))
        keys = self._heads(attention, attention.k_proj(normed))
        queries, keys = apply_rotary_pos_emb(queries, keys, *self._rotations)
        return queries[:, :, rows], keys


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hides transformers' own progress bar and its report of unused weights."""
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


TOWERS: dict[str, type[Tower]] = {
    "clip": ClipTower,
    "clip_vision_model": ClipTower,
    "vit": VitTower,
    "vit_mae": VitTower,
    "deit": DeitTower,
    "dinov2": Dinov2Tower,
    "dinov2_with_registers": Dinov2WithRegistersTower,
    "dinov3_vit": Dinov3Tower,
}
"""The tower of each `model_type` of transformers."""


def load_pretrained(
    folder: Path, tower: type[Tower], config: Any, device: torch.device, dtype: torch.dtype
) -> Any:
    """Loads a model of any family but CLIP, with transformers' own names for older files. Executes no code.

    Raises `ModelError` for weights that are missing, of another shape, or not finite. Weights that the
    vision tower has no place for, such as a classifier's, are left alone.
    """
    files = weights.weight_files(folder)
    for path in files:
        if path.suffix == ".safetensors":
            weights.check_size(path)
    options: dict[str, Any] = {"add_pooling_layer": False} if issubclass(tower, VitTower) else {}
    try:
        with _quiet_transformers():
            loaded: Any = tower.model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported, and refused here by name
                **options,
            )
        model, report = loaded
    except Exception as error:  # damaged files make it raise whatever their reader ends in
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{folder}: its weights cannot be read: {reason}") from error
    named = ", ".join(str(path) for path in files)
    if missing := sorted(report["missing_keys"]):
        first = weights.first_names(missing)
        raise ModelError(f"{named}: {len(missing)} weights are missing, among them {first}")
    if mismatched := sorted(report["mismatched_keys"], key=str):
        name, found, expected = mismatched[0]
        raise ModelError(
            f"{named}: {name} has shape {tuple(found)}, expected {tuple(expected)} by config.json"
        )
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{named}: {name} holds NaN or infinite values")
    return cast(nn.Module, model.eval().requires_grad_(False)).to(device=device, dtype=dtype)
