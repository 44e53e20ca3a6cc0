"""The SAE's arithmetic, against answers worked out by hand and a brute-force twin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scopeview.errors import CheckpointError
from scopeview.sae import autoencoder as sae_module
from scopeview.sae.autoencoder import Codes, Sae, SaeConfig, Weights, exact_topk, in_order
from scopeview.sae.normalization import Standardization

CONFIG = SaeConfig(
    "topk", 3, d_in=2, n_features=4, k=2, normalization="none", source="3_resid/1.pt", sha256=""
)

# Features read: x0, x1, -x0, x0 + x1 (after taking off pre_b = (1, 0)).
HAND_SET = Weights(
    pre_b=torch.tensor([1.0, 0.0]),
    enc=torch.tensor([[1.0, 0.0, -1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]),
    dec=torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [3.0, 4.0]]),
)


def hand_set(**changes: object) -> Sae:
    return Sae(replace(CONFIG, **changes), HAND_SET)  # type: ignore[arg-type]


def random_sae(seed: int, d_in: int, n_features: int, k: int | None) -> Sae:
    random = torch.Generator().manual_seed(seed)
    enc = torch.randn(d_in, n_features, generator=random)
    weights = Weights(torch.randn(d_in, generator=random), enc, enc.T.contiguous())
    config = replace(CONFIG, architecture="topk" if k else "relu", d_in=d_in, n_features=n_features, k=k)
    return Sae(config, weights)


def test_topk_keeps_the_largest_preactivations_in_descending_order() -> None:
    codes = hand_set().encode(torch.tensor([[3.0, 1.0]]))  # pre = 2, 1, -2, 3
    assert codes.features.tolist() == [[3, 0]]
    assert codes.values.tolist() == [[3.0, 2.0]]


def test_a_kept_value_can_be_negative() -> None:
    codes = hand_set(k=4).encode(torch.tensor([[3.0, 1.0]]))
    assert codes.features.tolist() == [[3, 0, 1, 2]]
    assert codes.values.tolist() == [[3.0, 2.0, 1.0, -2.0]]


def test_relu_after_topk_zeroes_negative_kept_values_and_orders_the_zeros_by_feature() -> None:
    codes = hand_set(k=4, relu_after_topk=True).encode(torch.tensor([[0.0, 0.0]]))  # pre = -1, 0, 1, -1
    assert codes.features.tolist() == [[2, 0, 1, 3]]
    assert codes.values.tolist() == [[1.0, 0.0, 0.0, 0.0]]


def test_without_subtracting_the_bias_it_is_only_added_back() -> None:
    sae = hand_set(subtract_pre_b=False)
    codes = sae.encode(torch.tensor([[3.0, 1.0]]))  # pre = 3, 1, -3, 4
    assert codes.values.tolist() == [[4.0, 3.0]]
    assert sae.decode(codes).tolist() == [[1.0 + 4 * 3 + 3 * 1, 4 * 4.0]]


def test_an_encoder_bias_is_added() -> None:
    weights = HAND_SET._replace(enc_b=torch.tensor([0.0, 0.0, 9.0, 0.0]))
    codes = Sae(CONFIG, weights).encode(torch.tensor([[3.0, 1.0]]))
    assert codes.features.tolist() == [[2, 3]]
    assert codes.values.tolist() == [[7.0, 3.0]]


def test_reconstruction_is_the_weighted_sum_of_decoder_rows_and_the_bias() -> None:
    out = hand_set()(torch.tensor([[3.0, 1.0]]))
    assert out.x.tolist() == [[3.0, 1.0]]
    assert out.x_hat.tolist() == [[1.0 + 3 * 3 + 2 * 1, 3 * 4.0]]


def test_decoder_norms_are_row_lengths() -> None:
    assert hand_set().decoder_norms.tolist() == [1.0, 2.0, 1.0, 5.0]


def test_equal_values_go_to_the_lower_feature_even_at_the_boundary() -> None:
    pre = torch.tensor([[1.0, 5.0, 5.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    codes = in_order(exact_topk(pre, 2))
    assert codes.features.tolist() == [[1, 2], [0, 1], [0, 1]]


def test_relu_keeps_every_active_feature_and_pads_with_distinct_zeros() -> None:
    sae = hand_set(architecture="relu", k=None)
    codes = sae.encode(torch.tensor([[3.0, 1.0], [0.0, -1.0]]))  # pre = 2,1,-2,3 and -1,-1,1,-2
    assert codes.features.tolist() == [[3, 0, 1], [2, 0, 1]]
    assert codes.values.tolist() == [[3.0, 2.0, 1.0], [1.0, 0.0, 0.0]]


def test_relu_blocks_of_different_width_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = hand_set(architecture="relu", k=None)
    x = torch.tensor([[3.0, 1.0], [0.0, -1.0], [2.0, 2.0]])
    whole = sae.encode(x)
    monkeypatch.setattr(sae_module, "MAX_DENSE_BYTES", 1)
    blockwise = sae.encode(x)
    assert torch.equal(whole.features, blockwise.features)
    assert torch.equal(whole.values, blockwise.values)


def test_an_empty_batch_gives_empty_codes() -> None:
    nothing = torch.empty(0, 2)
    assert hand_set().encode(nothing).values.shape == (0, 2)
    assert hand_set(architecture="relu", k=None).encode(nothing).values.shape == (0, 0)


def test_bf16_activations_are_upcast() -> None:
    assert hand_set().encode(torch.tensor([[3.0, 1.0]]).bfloat16()).values.dtype == torch.float32


def test_standardisation_comes_before_everything_else() -> None:
    stats = Standardization(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), n_tokens=10, eps=0.0)
    sae = hand_set().with_standardization(stats)
    x = torch.tensor([[7.0, 6.0]])  # -> (3, 1)
    assert sae.config.normalization == "standardize"
    assert sae.normalize(x).tolist() == [[3.0, 1.0]]
    assert sae.encode(x).values.tolist() == [[3.0, 2.0]]
    assert sae.without_standardization().normalize(x).tolist() == [[7.0, 6.0]]


def test_epsilon_is_added_to_the_standard_deviation() -> None:
    stats = Standardization(torch.zeros(2), torch.zeros(2), n_tokens=1)
    expected = np.float32(1) / np.float32(1e-6)
    assert stats.apply(torch.ones(1, 2)).tolist() == [[expected, expected]]


def test_switching_normalisation_shares_the_weights() -> None:
    sae = hand_set()
    assert sae.without_standardization().enc.data_ptr() == sae.enc.data_ptr()


def test_an_sae_that_still_needs_calibration_says_so() -> None:
    waiting = hand_set(normalization="standardize")
    assert waiting.standardization is None
    with pytest.raises(CheckpointError, match=r"3_resid/1\.pt.*no mean and std.*scopeview calibrate"):
        waiting.encode(torch.zeros(1, 2))
    ready = waiting.with_standardization(Standardization(torch.zeros(2), torch.ones(2), n_tokens=1))
    for sae in (ready, waiting.without_standardization()):
        assert sae.encode(torch.zeros(1, 2)).values.isfinite().all()


def test_statistics_of_another_width_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"\(3,\).*2 dimensions"):
        hand_set().with_standardization(Standardization(torch.zeros(3), torch.ones(3), n_tokens=1))


def test_blocks_give_the_same_codes_as_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = random_sae(0, d_in=16, n_features=512, k=8)
    x = torch.randn(100, 16, generator=torch.Generator().manual_seed(1))
    whole = sae.encode(x)
    monkeypatch.setattr(sae_module, "MAX_DENSE_BYTES", 4 * 512 * 7)
    blockwise = sae.encode(x)
    assert torch.equal(whole.features, blockwise.features)
    torch.testing.assert_close(whole.values, blockwise.values, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    n_rows=st.integers(1, 6),
    n_features=st.integers(1, 40),
    n_levels=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    data=st.data(),
)
def test_exact_topk_equals_a_full_stable_sort(
    n_rows: int, n_features: int, n_levels: int, seed: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, n_features))
    pre = np.random.default_rng(seed).integers(0, n_levels, (n_rows, n_features)).astype(np.float32)
    order = np.argsort(-pre, axis=1, kind="stable")[:, :k]
    codes = in_order(exact_topk(torch.from_numpy(pre), k))
    assert codes.features.tolist() == order.tolist()
    assert codes.values.tolist() == np.take_along_axis(pre, order, axis=1).tolist()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), n_rows=st.integers(1, 9), k=st.one_of(st.none(), st.integers(1, 20)))
def test_encode_and_decode_equal_a_dense_twin_in_float64(seed: int, n_rows: int, k: int | None) -> None:
    sae = random_sae(seed, d_in=6, n_features=20, k=k)
    x = torch.randn(n_rows, 6, generator=torch.Generator().manual_seed(seed + 1))
    pre_b, enc, dec = (t.double().numpy() for t in (sae.pre_b, sae.enc, sae.dec))
    pre = (x.double().numpy() - pre_b) @ enc
    threshold = 0 if k is None else np.sort(pre, axis=1)[:, -k, None]
    latent = np.where(pre >= threshold, pre, 0)
    codes = sae.encode(x)
    np.testing.assert_allclose(_dense(codes, 20), latent, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sae.decode(codes).numpy(), latent @ dec + pre_b, rtol=1e-4, atol=1e-3)


def _dense(codes: Codes, n_features: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    dense = np.zeros((codes.values.shape[0], n_features), np.float32)
    np.put_along_axis(dense, codes.features.numpy(), codes.values.numpy(), axis=1)
    return dense
