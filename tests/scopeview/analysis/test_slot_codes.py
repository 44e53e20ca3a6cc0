"""The codes of a batch at one slot: `any` of dense SAEs, in parts that fit into memory."""

import pytest
import torch

from scopeview.analysis import slot_codes
from scopeview.analysis.slot_codes import TokenCodes, any_token, fixed_token
from scopeview.sae.autoencoder import Codes, SaeConfig

DENSE = SaeConfig("jumprelu", 3, 6, 50, None, "none", source="3.pt", sha256="")
SIGNED = SaeConfig("abstopk", 3, 6, 50, 4, "none", source="3.pt", sha256="")


def random_codes(n_images: int, n_tokens: int, n_kept: int) -> TokenCodes:
    random = torch.Generator().manual_seed(0)
    ranks = torch.rand(n_images, n_tokens, DENSE.n_features, generator=random)
    values, features = ranks[:, :, :n_kept].sort(dim=2, descending=True)
    return TokenCodes(ranks.argsort(dim=2)[:, :, :n_kept].gather(2, features), values - 0.5)


def test_any_in_parts_is_any_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = random_codes(7, 5, 30)
    whole = any_token(codes, DENSE)
    monkeypatch.setattr(slot_codes, "MAX_DENSE_BYTES", 2 * 24 * 5 * 30)  # two images at a time
    for part, expected in zip(any_token(codes, DENSE), whole, strict=True):
        assert part is not None
        assert expected is not None
        assert torch.equal(part, expected)


def test_a_fixed_token_keeps_signs_with_a_k_and_only_what_fires_without() -> None:
    codes = Codes(torch.tensor([[4, 1, 2, 3]]), torch.tensor([[3.0, 1.0, -1.0, -2.0]]))
    assert fixed_token(codes, SIGNED).values.tolist() == [3.0, 1.0, -1.0, -2.0]
    assert fixed_token(codes, DENSE).values.tolist() == [3.0, 1.0]


def test_any_leaves_out_what_is_below_zero() -> None:
    codes = TokenCodes(torch.tensor([[[4, 1], [1, 4]]]), torch.tensor([[[3.0, -1.0], [-2.0, -5.0]]]))
    found = any_token(codes, SIGNED)
    assert (found.features.tolist(), found.values.tolist()) == ([4], [3.0])
