"""Codes found in bfloat16 and settled in float32 are the codes of float32, features and order alike."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scopeview.sae import two_stage_topk as rescored_module
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.normalization import Standardization
from scopeview.sae.two_stage_topk import RescoredSae

CONFIG = SaeConfig("topk", 3, d_in=24, n_features=400, k=8, normalization="none", source="3.pt", sha256="")


def random_sae(seed: int, **changes: object) -> Sae:
    random = torch.Generator().manual_seed(seed)
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    enc = torch.randn(config.d_in, config.n_features, generator=random)
    weights = Weights(torch.randn(config.d_in, generator=random), enc, enc.T.contiguous())
    return Sae(config, weights)


def inputs(seed: int, n: int = 40) -> torch.Tensor:
    return torch.randn(n, CONFIG.d_in, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**31), st.sampled_from([1, 4, 8]))
@settings(max_examples=25)
def test_features_and_their_order_are_those_of_float32(seed: int, k: int) -> None:
    sae = random_sae(seed, k=k)
    found, expected = RescoredSae(sae).encode(inputs(seed)), sae.encode(inputs(seed))
    # Two features whose values differ in the last bit only may change places.
    assert (found.features == expected.features).float().mean() > 0.99
    torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-5)


def test_a_row_whose_candidates_may_be_the_wrong_ones_is_worked_out_in_full() -> None:
    """Features so alike that bfloat16 cannot tell them apart: more of them than there are candidates."""
    sae = random_sae(1)
    base = torch.randn(CONFIG.d_in, 1, generator=torch.Generator().manual_seed(2))
    noise = 1e-3 * torch.randn(CONFIG.d_in, CONFIG.n_features, generator=torch.Generator().manual_seed(3))
    alike = Sae(CONFIG, Weights(torch.zeros(CONFIG.d_in), base + noise, sae.dec))
    rescored = RescoredSae(alike)
    found, expected = rescored.encode(inputs(4)), alike.encode(inputs(4))
    assert rescored.n_unsure > 0
    assert torch.equal(found.features, expected.features)


def test_rows_are_sure_where_features_are_apart() -> None:
    rescored = RescoredSae(random_sae(1, n_features=CONFIG.n_features, k=4))
    rescored.encode(inputs(1))
    assert rescored.n_unsure <= 4  # of 40


def test_what_becomes_of_kept_values_is_the_same() -> None:
    sae = random_sae(1, relu_after_topk=True, soft_cap=2.0, k=200)
    found, expected = RescoredSae(sae).encode(inputs(2)), sae.encode(inputs(2))
    torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-5)
    assert found.values.min() == 0
    assert 1 < found.values.max() <= 2


def test_equal_values_go_to_the_lower_feature() -> None:
    enc = torch.zeros(CONFIG.d_in, CONFIG.n_features)
    enc[0, 100:300] = 1.0  # two hundred features that are one and the same
    sae = Sae(CONFIG, Weights(torch.zeros(CONFIG.d_in), enc, enc.T.contiguous()))
    codes = RescoredSae(sae).encode(torch.ones(3, CONFIG.d_in))
    assert codes.features.tolist() == [list(range(100, 108))] * 3


def test_bias_standardization_and_relu_are_the_saes_own() -> None:
    sae = random_sae(5, relu_after_topk=True, subtract_pre_b=False)
    sae = Sae(sae.config, sae._weights()._replace(enc_b=-4 * torch.rand(CONFIG.n_features)))
    stats = Standardization(torch.full((CONFIG.d_in,), 0.5), torch.full((CONFIG.d_in,), 2.0), n_tokens=9)
    sae = sae.with_standardization(stats)
    found, expected = RescoredSae(sae).encode(inputs(6)), sae.encode(inputs(6))
    torch.testing.assert_close(found.values, expected.values, rtol=1e-5, atol=1e-5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rescored = RescoredSae(random_sae(7))
    whole = rescored.encode(inputs(8))
    monkeypatch.setattr(rescored_module, "MAX_DENSE_BYTES", 1)
    rows = rescored.encode(inputs(8))
    assert torch.equal(whole.features, rows.features)
