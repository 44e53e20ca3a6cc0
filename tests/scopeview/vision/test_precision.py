"""Which precision, and why."""

import pytest
import torch

from scopeview.vision.precision import choose_precision


@pytest.mark.parametrize(
    ("amx", "avx", "dtype", "because"),
    [
        (True, True, "bfloat16", "this processor has amx_bf16"),
        (False, True, "bfloat16", "this processor has avx512_bf16"),
        (False, False, "float32", "this processor has neither avx512_bf16 nor amx"),
    ],
)
def test_a_cpu_runs_in_bfloat16_where_it_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool, dtype: str, because: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    assert choose_precision("auto", "cpu") == (dtype, because)
    assert choose_precision("float32", "cpu") == ("float32", "asked for")
    assert choose_precision("auto", "cuda:1").dtype == "bfloat16"
