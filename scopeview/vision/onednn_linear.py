"""Linear layers whose weights are packed once into the layout of a processor's bfloat16 unit.

PyTorch computes bfloat16 matmuls on CPUs with oneDNN, which otherwise repacks the weights at every call. With
packed weights, two cores with avx512_bf16 reach 430 instead of 380 GFLOP/s on ViT-L/14's layers.
`torch.compile` with `freezing` does the same, through the same operator, if there is a C++ compiler, after
most of a minute. Knows only the parts of CLIP's blocks, no more of a model.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from scopeview.vision.precision import bfloat16_unit

Formula = Literal["none", "tanh"]
Linear = Callable[[Tensor], Tensor]

_GELU: dict[str, Formula] = {"gelu": "none", "gelu_pytorch_tanh": "tanh"}
"""Activation functions that oneDNN applies before it rounds, and its names of their formulas."""


class PackedLinear(nn.Module):
    """Computes `functional.linear`, followed by GELU if a formula is given. Has no gradient."""

    def __init__(
        self,
        weight: Float[Tensor, "d_out d_in"],
        bias: Float[Tensor, " d_out"] | None,
        gelu: Formula | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", _mkldnn()._reorder_linear_weight(weight.detach()))
        self.bias = bias
        self._after = ("none", "") if gelu is None else ("gelu", gelu)

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        attr, formula = self._after
        return cast(Tensor, _mkldnn()._linear_pointwise(x, self.weight, self.bias, attr, [], formula))


def is_worth_packing(device: torch.device, dtype: torch.dtype) -> bool:
    """True for a CPU that multiplies bfloat16 natively, with a PyTorch that has the operator."""
    return (
        device.type == "cpu"
        and dtype == torch.bfloat16
        and bfloat16_unit() is not None
        and hasattr(_mkldnn(), "_reorder_linear_weight")
        and hasattr(_mkldnn(), "_linear_pointwise")
    )


def linear(weight: Float[Tensor, "d_out d_in"], bias: Float[Tensor, " d_out"] | None) -> Linear:
    """`functional.linear` with these weights, packed if that is worth it."""
    if is_worth_packing(weight.device, weight.dtype):
        return PackedLinear(weight, bias)
    return partial(functional.linear, weight=weight, bias=bias)


def pack_blocks(blocks: nn.ModuleList, activation: str) -> None:
    """Replaces the linear layers of these blocks of CLIP; `activation` is their `hidden_act`."""
    for block in cast(Any, blocks):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(block.self_attn, name, _packed(getattr(block.self_attn, name)))
        gelu = _GELU.get(activation)
        block.mlp.fc1 = _packed(block.mlp.fc1, gelu)
        block.mlp.fc2 = _packed(block.mlp.fc2)
        if gelu is not None:
            block.mlp.activation_fn = nn.Identity()


def _packed(layer: nn.Linear, gelu: Formula | None = None) -> PackedLinear:
    return PackedLinear(layer.weight, layer.bias, gelu)


def _mkldnn() -> Any:
    return torch.ops.mkldnn
