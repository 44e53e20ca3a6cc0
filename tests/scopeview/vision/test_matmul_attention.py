"""Attention by products is attention."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from scopeview.vision.clip import Clip
from scopeview.vision.matmul_attention import MATMUL_ATTENTION, attention_by_matmul
from scopeview.vision.onednn_linear import is_worth_packing
from tests.models import save_random_clip


def test_in_float32_it_is_pytorchs() -> None:
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 16, generator=random) for n in (5, 7, 7))
    found, weights = attention_by_matmul(
        torch.nn.Identity(), query, key, value, None, scaling=0.3, dropout=0.0
    )
    expected = functional.scaled_dot_product_attention(query, key, value, scale=0.3)
    assert weights is None
    torch.testing.assert_close(found, expected.transpose(1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tower_attends_by_products_where_it_is_packed(tmp_path: Path, dtype: torch.dtype) -> None:
    clip = Clip.load(str(save_random_clip(tmp_path)), dtype=dtype)
    packed = is_worth_packing(clip.device, dtype)
    assert clip.model.vision_model.config._attn_implementation == (MATMUL_ATTENTION if packed else "sdpa")
