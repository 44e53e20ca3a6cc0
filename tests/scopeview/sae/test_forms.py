"""Every architecture and normalisation, against answers worked out by hand and dense twins in float64."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scopeview.sae import autoencoder
from scopeview.sae.autoencoder import Codes, Sae, SaeConfig, Weights
from scopeview.sae.forms import NORMALIZATIONS, Normalization
from scopeview.sae.normalization import Standardization

Dense = NDArray[np.float64]
CONFIG = SaeConfig("topk", 3, 2, 4, 2, "none", source="3_resid/1.pt", sha256="")
# Features read: x0, x1, -x0, x0 + x1.
HAND_SET = Weights(
    pre_b=torch.zeros(2),
    enc=torch.tensor([[1.0, 0.0, -1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]),
    dec=torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [3.0, 4.0]]),
)


def hand_set(threshold: list[float] | None = None, **changes: object) -> Sae:
    limits = None if threshold is None else torch.tensor(threshold)
    return Sae(replace(CONFIG, **changes), HAND_SET._replace(threshold=limits))  # type: ignore[arg-type]


def random_sae(**changes: object) -> Sae:
    random = torch.Generator().manual_seed(0)
    config = replace(CONFIG, **{"d_in": 8, "n_features": 48, "k": 6, **changes})  # type: ignore[arg-type]
    limits = 0.5 * torch.randn(48, generator=random) if config.architecture == "jumprelu" else None
    enc, dec = torch.randn(8, 48, generator=random), torch.randn(48, 8, generator=random)
    pre_b, enc_b = torch.randn(8, generator=random), torch.randn(48, generator=random)
    return Sae(config, Weights(pre_b, enc, dec, enc_b, limits))


X = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))


def dense(codes: Codes) -> Dense:
    return torch.zeros(len(X), 48).scatter(1, codes.features, codes.values).double().numpy()


def pre_of(sae: Sae) -> Dense:
    w = {name: tensor.double().numpy() for name, tensor in sae.named_buffers()}
    pre: Dense = (X.double().numpy() - w["pre_b"]) @ w["enc"] + w["enc_b"]
    return pre


def test_a_jumprelu_feature_fires_above_its_threshold_and_above_zero() -> None:
    # pre = 2, 1, -2, 3; the third threshold is below its value, which is below 0.
    sae = hand_set([2.0, 0.5, -3.0, 2.5], architecture="jumprelu", k=None)
    codes = sae.encode(torch.tensor([[2.0, 1.0]]))
    assert codes.features.tolist() == [[3, 1]]
    assert codes.values.tolist() == [[3.0, 1.0]]


def test_the_next_lower_number_makes_a_threshold_inclusive() -> None:
    below = torch.nextafter(torch.tensor(2.0), torch.tensor(-torch.inf)).item()
    sae = hand_set([below] * 4, architecture="jumprelu", k=None)
    assert sae.encode(torch.tensor([[2.0, 1.0]])).features.tolist() == [[3, 0]]


def test_abstopk_keeps_the_largest_by_absolute_value_with_their_sign() -> None:
    codes = hand_set(architecture="abstopk").encode(torch.tensor([[-3.0, 1.0]]))  # pre = -3, 1, 3, -2
    assert codes.features.tolist() == [[2, 0]]
    assert codes.values.tolist() == [[3.0, -3.0]]


def test_a_negative_activation_takes_part_in_the_reconstruction() -> None:
    sae = hand_set(architecture="abstopk")
    assert sae(torch.tensor([[-3.0, 1.0]])).x_hat.tolist() == [[3.0 * -1 - 3.0 * 1, 0.0]]


def test_groupmax_keeps_the_largest_of_each_group_of_neighbours() -> None:
    sae = hand_set(architecture="groupmax", relu_after_topk=True)
    codes = sae.encode(torch.tensor([[-3.0, -1.0]]))  # pre = -3, -1 | 3, -4
    assert codes.features.tolist() == [[2, 1]]
    assert codes.values.tolist() == [[3.0, 0.0]]


def test_a_soft_cap_bends_what_is_kept() -> None:
    codes = hand_set(soft_cap=2.0).encode(torch.tensor([[3.0, 1.0]]))  # pre = 3, 1, -3, 4
    assert codes.features.tolist() == [[3, 0]]
    np.testing.assert_allclose(codes.values, [[2 * np.tanh(2), 2 * np.tanh(1.5)]], rtol=1e-6)


def _largest(order: Callable[[Dense], Dense]) -> Callable[[Dense], Dense]:
    def keep(pre: Dense) -> Dense:
        kth = np.sort(order(pre), axis=1)[:, -6, None]
        return np.where(order(pre) >= kth, pre, 0)

    return keep


def _groups(pre: Dense) -> Dense:
    grouped = pre.reshape(len(pre), 6, 8)
    kept = np.where(grouped == grouped.max(axis=2, keepdims=True), grouped, 0)
    return np.maximum(kept.reshape(pre.shape), 0)


@pytest.mark.parametrize("at_once", [1, 2**28])
@pytest.mark.parametrize(
    ("sae", "keep"),
    [
        (random_sae(), _largest(lambda pre: pre)),
        (random_sae(architecture="abstopk"), _largest(np.abs)),
        (random_sae(architecture="groupmax", relu_after_topk=True), _groups),
        (random_sae(architecture="jumprelu", k=None), None),
    ],
    ids=["topk", "abstopk", "groupmax", "jumprelu"],
)
def test_codes_are_those_of_a_dense_twin(
    sae: Sae, keep: Callable[[Dense], Dense] | None, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "MAX_DENSE_BYTES", at_once)
    pre = pre_of(sae)
    if keep is None:
        assert sae.threshold is not None
        expected = np.where(pre > sae.threshold.double().numpy(), np.maximum(pre, 0), 0)
    else:
        expected = keep(pre)
    codes = sae.encode(X)
    assert ((dense(codes) != 0) == (expected != 0)).all()
    np.testing.assert_allclose(dense(codes), expected, rtol=1e-5, atol=1e-5)
    assert (codes.values.diff(dim=1) <= 0).all()


def test_a_dense_code_keeps_the_strongest_features_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sae = random_sae(architecture="relu", k=None)
    whole = sae.encode(X)
    assert sae.config.max_active == 48
    monkeypatch.setattr(autoencoder, "MAX_ACTIVE", 7)
    bounded = sae.encode(X)
    assert sae.config.max_active == 7
    assert torch.equal(bounded.features, whole.features[:, :7])
    assert torch.equal(bounded.values, whole.values[:, :7])
    assert random_sae().config.max_active is None


def test_layer_norm_is_that_of_one_token() -> None:
    sae = random_sae(normalization="layer_norm")
    x = X.double().numpy()
    expected = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, ddof=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(sae.normalize(X), expected, rtol=1e-5, atol=1e-6)


def test_constant_norm_gives_every_token_one_length_and_leaves_zeros_alone() -> None:
    sae = random_sae(normalization="constant_norm")
    np.testing.assert_allclose(sae.normalize(X).norm(dim=1), 8**0.5, rtol=1e-6)
    assert sae.normalize(torch.zeros(1, 8)).tolist() == [[0.0] * 8]


def test_center_scale_divides_every_dimension_by_the_same_number() -> None:
    stats = Standardization(torch.arange(8.0), torch.arange(1.0, 9.0), n_tokens=10)
    fitted = stats.fitted_to("center_scale")
    np.testing.assert_allclose(fitted.std, np.sqrt((np.arange(1, 9) ** 2).mean()), rtol=1e-6)
    assert stats.fitted_to("standardize") is stats
    x = random_sae().with_normalization("center_scale", fitted).normalize(X)
    np.testing.assert_allclose(x, (X - stats.mean) / (fitted.std + 1e-6), rtol=1e-6)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_what_is_normalised_can_be_taken_back(kind: Normalization) -> None:
    stats = Standardization(torch.arange(8.0), torch.arange(1.0, 9.0), n_tokens=10).fitted_to(kind)
    sae = random_sae().with_normalization(kind, stats)
    np.testing.assert_allclose(sae.denormalize(sae.normalize(X), X), X, rtol=1e-4, atol=1e-4)
    shifted = sae.denormalize(sae.normalize(X) + 1, X)
    np.testing.assert_allclose(sae.in_raw_units(torch.ones(50, 8), X), shifted - X, rtol=1e-3, atol=1e-4)
