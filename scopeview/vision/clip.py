"""A vision transformer with taps on its residual stream, and the final image embedding.

A *tap* at layer L is the residual stream after block L, 0-based: `hidden_states[L + 1]` of transformers,
neither before the block nor layer-normed. Loads folders of Hugging Face models of the families in `towers`.
Taps hold CLS and the patches, whatever else a family has between them. Knows nothing of SAEs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from scopeview import hub
from scopeview.errors import InputError, ModelError
from scopeview.hub import Resolved
from scopeview.images import Grey16
from scopeview.vision import weights
from scopeview.vision.clip_info import MODEL_CONFIG_NAME, ClipInfo, check_layers, check_tokens, read_info
from scopeview.vision.clip_info import read_vision_config as _read_vision_config
from scopeview.vision.matmul_attention import MATMUL_ATTENTION
from scopeview.vision.onednn_linear import is_worth_packing, pack_blocks
from scopeview.vision.preprocess import CONFIG_NAME, PROCESSOR_CONFIG_NAME, Preprocessing
from scopeview.vision.towers import TOWERS, ClipTower, Tower, load_pretrained

__all__ = [
    "Clip",
    "ClipInfo",
    "ResidualActivations",
    "check_device",
    "check_layers",
    "check_tokens",
    "normalization_table",
    "read_info",
    "resolve_model",
]

CONFIG_PATTERNS = (MODEL_CONFIG_NAME, CONFIG_NAME, PROCESSOR_CONFIG_NAME)
SAFETENSORS_PATTERNS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
VARIANT_PATTERNS = (weights.VARIANTS, weights.VARIANT_INDEXES)
PICKLE_PATTERNS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")

_TOWER = ("vision_model.", "visual_projection.")
# Not a weight: counts the positions. Older checkpoints hold it, newer ones do not.
_POSITION_IDS = "vision_model.embeddings.position_ids"


class ResidualActivations(NamedTuple):
    """`residuals` by layer, as requested; `embedding` as projected, not normalised. All float32.

    `registers` has the rows that `residuals` leave out, by layer; nothing for a model without registers.
    """

    residuals: dict[int, Float[Tensor, "batch token width"]]
    embedding: Float[Tensor, "batch projection"]
    registers: Mapping[int, Float[Tensor, "batch register width"]] = MappingProxyType({})


class TokenActivations(NamedTuple):
    """The residual stream at some tokens. `finite` is False for an image with any NaN or infinite number."""

    residuals: dict[int, Float[Tensor, "batch kept width"]]
    embedding: Float[Tensor, "batch projection"]
    finite: Bool[Tensor, " batch"]


def resolve_model(ref: str, *, with_weights: bool = True) -> Resolved:
    """The local folder of `ref`, first fetched if it is a hub id; without weights, a few kilobytes.

    From a repository with two copies of the weights, only the safetensors are fetched. Raises as
    `hub.resolve`.
    """
    if not with_weights:
        return hub.resolve(ref, patterns=CONFIG_PATTERNS)
    for patterns in (SAFETENSORS_PATTERNS, VARIANT_PATTERNS):
        resolved = hub.resolve(ref, patterns=(*CONFIG_PATTERNS, *patterns))
        if resolved.repo_id is None or weights.has_weights(resolved.path):
            return resolved
    return hub.resolve(ref, patterns=(*CONFIG_PATTERNS, *PICKLE_PATTERNS))


def normalization_table(preprocessing: Preprocessing) -> Float[Tensor, "colour=3 level=256"]:
    """The normalized value of each of the 256 levels of each color.

    Computed in NumPy with the roundings of transformers' Pillow processor (rescaled in float64, rounded to
    float32, then normalised in float32), so that looking up pixels gives its `pixel_values` bit for bit, on
    any device and with any compiler's fusions.
    """
    factor = 1.0 if preprocessing.rescale_factor is None else preprocessing.rescale_factor
    mean = np.array(preprocessing.mean or (0, 0, 0), dtype=np.float32)
    std = np.array(preprocessing.std or (1, 1, 1), dtype=np.float32)
    levels = (np.arange(256, dtype=np.float64) * factor).astype(np.float32)
    return torch.from_numpy((levels[None, :] - mean[:, None]) / std[:, None])


class Clip:
    """A vision tower on its device. `forward` keeps no state, so threads may share one."""

    def __init__(self, tower: Tower, info: ClipInfo, preprocessing: Preprocessing, folder: Path) -> None:
        self.tower = tower
        self.model: Any = tower.model
        self.info = info
        self.preprocessing = preprocessing
        self.folder = folder
        self.device: torch.device = tower.weight.device
        self.dtype: torch.dtype = tower.weight.dtype
        self._table = normalization_table(preprocessing).to(self.device)

    @classmethod
    def load(
        cls,
        ref: str | Resolved,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        grey_16_bit: Grey16 = "scaled",
    ) -> "Clip":
        """Loads a model; checks config, preprocessing and weights on the CPU before it uses the device.

        With a `dtype` of lower precision the weights are rounded to it; taps are float32 all the same. Raises
        `ModelError` for a bad folder, `InputError` for a bad device, and as `hub.resolve`.
        """
        checked_device = check_device(device)
        resolved = resolve_model(ref) if isinstance(ref, str) else ref
        info = read_info(resolved)
        preprocessing = replace(Preprocessing.from_folder(resolved.path), grey_16_bit=grey_16_bit)
        if preprocessing.output_px() != (info.image_px, info.image_px):
            raise ModelError(
                f"{resolved.path / CONFIG_NAME} gives images of {preprocessing.output_px()} pixels (height, "
                f"width), but {MODEL_CONFIG_NAME} expects {(info.image_px, info.image_px)}"
            )
        tower = _load_tower(resolved.path, info, checked_device, dtype)
        return cls(tower, info, preprocessing, resolved.path)

    @cached_property
    def sha256(self) -> str:
        """The digest of the weight file; for several, see `weights.sha256_of`. Reads them once."""
        return weights.sha256_of(weights.weight_files(self.folder))

    def normalize(
        self, pixels: UInt8[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Exactly the `pixel_values` of transformers, in float32 on the model's device."""
        levels = pixels.to(self.device, non_blocking=True).long()
        return torch.stack([self._table[colour][levels[:, colour]] for colour in range(3)], dim=1)

    @torch.inference_mode()
    def forward(
        self, pixels: UInt8[Tensor, "batch 3 height width"], layers: Sequence[int]
    ) -> ResidualActivations:
        """Runs the tower on pixels of `Preprocessing.crop`; `layers` are block numbers in any order."""
        rows, last = self._run(self._embed(pixels), range(self.info.n_layers), frozenset(layers))
        residuals = {layer: self._tokens(rows[layer]) for layer in layers}
        first_patch = 1 + self.info.n_registers
        registers = {layer: rows[layer][:, 1:first_patch] for layer in layers if first_patch > 1}
        return ResidualActivations(residuals, self.tower.embed(last), registers)

    @torch.inference_mode()
    def residual_stream(
        self,
        pixels: UInt8[Tensor, "batch 3 height width"],
        layers: Sequence[int],
        tokens: Sequence[int] | None,
    ) -> TokenActivations:
        """Like `forward`, but only at these tokens, in this order (None: all).

        The last block is computed only for those tokens that a tap or the embedding needs.
        """
        return self._tap(self._embed(pixels), tuple(layers), None if tokens is None else tuple(tokens))

    def compile(self, **options: Any) -> None:
        """Lets PyTorch compile what `_tap` runs; the first call with each shape then takes a while."""
        self._tap = torch.compile(self._tap, dynamic=False, **options)  # type: ignore[method-assign]

    def uncompile(self) -> None:
        """Runs `_tap` uncompiled again."""
        self.__dict__.pop("_tap", None)

    @torch.inference_mode()
    def residuals(
        self, pixels: UInt8[Tensor, "batch 3 height width"], layers: Sequence[int]
    ) -> dict[int, Float[Tensor, "batch token d_in"]]:
        """Only the taps of `forward`: no block after the last of these is run."""
        blocks = range(max(layers, default=-1) + 1)
        rows, _ = self._run(self._embed(pixels), blocks, frozenset(layers))
        return {layer: self._tokens(rows[layer]) for layer in layers}

    @torch.inference_mode()
    def resume(
        self,
        residual: Float[Tensor, "batch token d_in"],
        from_layer: int,
        registers: Float[Tensor, "batch register d_in"] | None = None,
    ) -> Float[Tensor, "batch projection"]:
        """The embedding that follows from a residual stream after block `from_layer`; a tap gives its own.

        A model with registers needs those of `forward` beside the tap.
        """
        if registers is not None:
            residual = torch.cat([residual[:, :1], registers, residual[:, 1:]], dim=1)
        entered = residual.to(device=self.device, dtype=self.dtype)
        _, last = self._run(entered, range(from_layer + 1, self.info.n_layers), frozenset())
        return self.tower.embed(last)

    def _embed(self, pixels: Tensor) -> Tensor:
        return self.tower.enter(self.normalize(pixels))

    def _tokens(self, rows: Tensor) -> Tensor:
        """CLS and the patches, of all rows of a tower."""
        n_registers = self.info.n_registers
        return torch.cat([rows[:, :1], rows[:, 1 + n_registers :]], dim=1) if n_registers else rows

    def _row(self, token: int) -> int:
        """The row of a token in the tower, where registers stand between CLS and the patches."""
        return token + self.info.n_registers if token else 0

    def _run(
        self, residual: Tensor, blocks: range, wanted: frozenset[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        """The outputs of the requested blocks, in float32, and the output of the last block."""
        residuals: dict[int, Tensor] = {}
        for number in blocks:
            residual = self.tower.run_block(number, residual)
            if number in wanted:
                residuals[number] = residual.float()
        return residuals, residual

    def _tap(
        self, residual: Tensor, layers: tuple[int, ...], tokens: tuple[int, ...] | None
    ) -> TokenActivations:
        last = self.info.n_layers - 1
        rows = [self._row(token) for token in (range(self.info.n_tokens) if tokens is None else tokens)]
        all_rows = tokens is None and not self.info.n_registers
        found: dict[int, Tensor] = {}
        finite = torch.ones(len(residual), dtype=torch.bool, device=residual.device)
        for number in range(last):
            _, residual = self._run(residual, range(number, number + 1), frozenset())
            if number in layers:
                finite = finite & all_finite(residual)
                found[number] = residual.float() if all_rows else residual[:, rows].float()
        needed = [0, *(row for row in rows if row != 0 and last in layers)]
        residual = self.tower.run_block_at(last, residual, needed)
        if last in layers:
            finite = finite & all_finite(residual)
            found[last] = residual[:, [needed.index(row) for row in rows]].float()
        embedding = self.tower.embed(residual)
        finite = finite & all_finite(embedding)
        return TokenActivations({layer: found[layer] for layer in layers}, embedding, finite)


def all_finite(numbers: Float[Tensor, "batch *rest"]) -> Bool[Tensor, " batch"]:
    """True for rows without NaN and Inf. Checks the maximum: nine times as fast as checking every number."""
    return numbers.flatten(1).abs().amax(dim=1).isfinite()


def check_device(device: str) -> torch.device:
    """Raises `InputError` for a device that does not exist, or that holds no numbers (`meta`)."""
    try:
        checked = torch.device(device)
        torch.zeros(1, device=checked).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used here ({reason}); 'cpu' always can") from error
    return checked


def _load_tower(folder: Path, info: ClipInfo, device: torch.device, dtype: torch.dtype) -> Tower:
    config = _read_vision_config(folder / MODEL_CONFIG_NAME)
    kind = TOWERS[config.model_type]
    if kind is not ClipTower:
        return kind(load_pretrained(folder, kind, config, device, dtype), info.image_px)
    packs = is_worth_packing(device, dtype)
    tower = ClipTower(_load_clip(folder, device, dtype, MATMUL_ATTENTION if packs else "sdpa"), info.image_px)
    if packs:
        pack_blocks(tower.blocks, config.hidden_act)
    return tower


def _load_clip(
    folder: Path, device: torch.device, dtype: torch.dtype, attention: str
) -> CLIPVisionModelWithProjection:
    """Builds the model on `meta`, then assigns the file's tensors, so that no weight stays random."""
    config = _read_vision_config(folder / MODEL_CONFIG_NAME)
    with torch.device("meta"):
        model: Any = CLIPVisionModelWithProjection._from_config(config, attn_implementation=attention)  # type: ignore[no-untyped-call]
    tensors = {name: tensor.float() for name, tensor in weights.read_tensors(folder, _TOWER).items()}
    tensors.pop(_POSITION_IDS, None)
    weights.check_tensors(folder, model.state_dict(), tensors)
    model.load_state_dict(tensors, assign=True)
    embeddings = model.vision_model.embeddings
    embeddings.position_ids = torch.arange(math.prod(embeddings.position_ids.shape))[None]
    return cast(
        CLIPVisionModelWithProjection, model.eval().requires_grad_(False).to(device=device, dtype=dtype)
    )
