"""Losses and gradients, against autograd on dense twins."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from indexer.training import sae_loss
from indexer.training.sae_loss import ByFeature, decode, products
from indexer.training.sae_model import TrainedSae
from tests.indexer.training.saes_in_training import SETTINGS, relu_settings, settings, sparse_mixtures

X = sparse_mixtures(40)


def _sae(**changes: object) -> TrainedSae:
    """With an encoder that is not the decoder, and biases that are not zero."""
    sae = TrainedSae(settings(**changes), seed=3)
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return sae


def _gradients(sae: TrainedSae) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in sae.named_parameters() if parameter.grad is not None}


def _dense_topk_loss(sae: TrainedSae, k: int) -> Tensor:
    top = ((X - sae.pre_b) @ sae.enc.T).topk(k, dim=1)
    latents = torch.zeros(len(X), len(sae.enc)).scatter(1, top.indices, top.values)
    return (latents @ sae.dec + sae.pre_b - X).pow(2).mean()


def test_the_gradients_of_topk_are_those_of_autograd() -> None:
    by_hand, by_autograd = _sae(), _sae()
    outcome = sae_loss.topk_gradients(by_hand, X, 3)
    loss = _dense_topk_loss(by_autograd, 3)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(outcome.loss, loss.detach())
    torch.testing.assert_close(_gradients(by_hand), _gradients(by_autograd))


def test_in_low_precision_the_values_of_the_features_chosen_are_fp32() -> None:
    exact = sae_loss.topk_gradients(_sae(), X, 3)
    low = sae_loss.topk_gradients(_sae(), X, 3, low_precision=True)
    same = (exact.x_hat - low.x_hat).abs().amax(dim=1) < 1e-5  # where bf16 chose the same three
    assert same.float().mean() > 0.8


@pytest.mark.parametrize("architecture", ["topk", "relu"])
def test_blocks_change_nothing(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> dict[str, Tensor]:
        sae = _sae(architecture=architecture)
        if architecture == "topk":
            sae_loss.topk_gradients(sae, X, 3)
        else:
            sae_loss.relu_gradients(sae, X, 0.5)
        sae_loss.aux_gradients(sae, X, X, torch.tensor([2, 5, 7]), aux_k=2, weight=1.0)
        return _gradients(sae)

    whole = gradients()
    monkeypatch.setattr(sae_loss, "MIN_BLOCK_TOKENS", 7)
    monkeypatch.setattr(sae_loss, "MAX_DENSE_BYTES", {"cpu": 1})
    torch.testing.assert_close(gradients(), whole)


def test_the_penalty_of_relu_is_the_sum_of_activations() -> None:
    sae = _sae(architecture="relu")
    without = sae_loss.relu_gradients(sae, X, 0.0)
    with_penalty = sae_loss.relu_gradients(sae, X, 2.0)
    assert sae.enc_b is not None
    latents = torch.relu((X - sae.pre_b) @ sae.enc.T + sae.enc_b)
    expected = 2.0 * latents.sum(dim=1).mean() / SETTINGS.d_in
    torch.testing.assert_close(with_penalty.loss - without.loss, expected.detach())
    torch.testing.assert_close(with_penalty.l0, (latents > 0).sum(dim=1).float().mean())


def test_the_auxiliary_loss_moves_dead_features_and_nothing_else() -> None:
    sae = _sae(**vars(relu_settings(0.0)))
    dead = torch.tensor([1, 4, 20])
    sae_loss.aux_gradients(sae, X, X, dead, aux_k=2, weight=1.0)
    moved = {
        name: gradient.abs().reshape(24, -1).sum(dim=1) > 0 for name, gradient in _gradients(sae).items()
    }
    assert moved.keys() == {"enc", "dec", "enc_b"}
    assert all(found.nonzero().squeeze(1).tolist() == dead.tolist() for found in moved.values())


def test_what_fired_is_what_was_kept_above_zero() -> None:
    outcome = sae_loss.topk_gradients(_sae(), X, 1)
    kept = ((X - _sae().pre_b) @ _sae().enc.T).argmax(dim=1)
    assert outcome.fired.nonzero().squeeze(1).tolist() == sorted(set(kept.tolist()))
    assert outcome.l0 == 1


_SIZES = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))


class _Example(NamedTuple):
    features: Tensor
    values: Tensor
    dense: Tensor
    """The same code, with zeros where nothing was kept."""
    rows: Tensor
    table: Tensor


def _codes(n_tokens: int, n_features: int, d_in: int, seed: int) -> _Example:
    random = torch.Generator().manual_seed(seed)
    dense = torch.randn(n_tokens, n_features, generator=random)
    values, features = dense.topk((n_features + 1) // 2, dim=1)
    kept = torch.zeros_like(dense).scatter(1, features, values)
    rows = torch.randn(n_tokens, d_in, generator=random)
    return _Example(features, values, kept, rows, torch.randn(n_features, d_in, generator=random))


@given(_SIZES)
def test_decoding_is_the_dense_product(sizes: tuple[int, int, int, int]) -> None:
    features, values, kept, _, table = _codes(*sizes)
    torch.testing.assert_close(decode(features, values, table), kept @ table)


@given(_SIZES)
def test_products_are_the_dense_ones_at_the_features_kept(sizes: tuple[int, int, int, int]) -> None:
    features, _, _, rows, table = _codes(*sizes)
    torch.testing.assert_close(products(features, rows, table), (rows @ table.T).gather(1, features))


@given(_SIZES)
def test_collecting_by_feature_is_the_transposed_product(sizes: tuple[int, int, int, int]) -> None:
    features, values, kept, rows, table = _codes(*sizes)
    by_feature = ByFeature.of(features, len(table))
    torch.testing.assert_close(by_feature.collect(values, rows), kept.T @ rows)
