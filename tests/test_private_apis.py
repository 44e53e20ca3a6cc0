"""Private names of libraries that Scopeview uses, a test each: a failure says what an upgrade removed.

The code that uses them has a slower or plainer way out; a failure says that it is now taken.
"""

import pytest
import torch
from torch.nn import functional


@pytest.mark.parametrize("name", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_torch_says_which_units_the_processor_has(name: str) -> None:
    assert getattr(torch.cpu, name)() in (True, False)


def test_torch_says_whether_onednn_multiplies_bfloat16() -> None:
    assert torch.ops.mkldnn._is_mkldnn_bf16_supported() in (True, False)


@pytest.mark.parametrize(
    ("activation", "formula", "after"),
    [("none", "", None), ("gelu", "none", "none"), ("gelu", "tanh", "tanh")],
)
def test_torch_multiplies_by_reordered_weights(activation: str, formula: str, after: str | None) -> None:
    weight, bias, x = torch.randn(8, 4), torch.randn(8), torch.randn(3, 4)
    reordered = torch.ops.mkldnn._reorder_linear_weight(weight)
    found = torch.ops.mkldnn._linear_pointwise(x, reordered, bias, activation, [], formula)
    product = functional.linear(x, weight, bias)
    expected = product if after is None else functional.gelu(product, approximate=after)
    torch.testing.assert_close(found, expected)
