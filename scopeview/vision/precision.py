"""The default precision of a model on a given device, and the reason for it."""

from typing import Literal, NamedTuple

import torch

Dtype = Literal["float32", "bfloat16"]
DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Precision(NamedTuple):
    """The chosen precision and the reason, in words."""

    dtype: Dtype
    because: str


def choose_precision(name: Dtype | Literal["auto"], device: str) -> Precision:
    """Resolves `auto` to bfloat16 if the hardware multiplies it faster than float32."""
    if name != "auto":
        return Precision(name, "asked for")
    if device.startswith("cuda"):
        return Precision("bfloat16", "CUDA devices are made for it")
    if device == "cpu" and (unit := bfloat16_unit()):
        return Precision("bfloat16", f"this processor has {unit}")
    return Precision("float32", "this processor has neither avx512_bf16 nor amx")


def bfloat16_unit() -> str | None:
    """The unit of this processor that multiplies bfloat16 natively; None if there is none."""
    for unit, question in (
        ("amx_bf16", "_is_amx_tile_supported"),
        ("avx512_bf16", "_is_avx512_bf16_supported"),
    ):
        ask = getattr(torch.cpu, question, None)
        if ask is not None and ask():
            return unit
    return None
