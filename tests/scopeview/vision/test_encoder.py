"""Images to codes: hand-set activations with hand-computed codes, and a brute-force twin for `any`."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.slots import Layer, Slot
from scopeview.vision import encoder as encoder_module
from scopeview.vision.clip import Clip, ResidualActivations, TokenActivations
from scopeview.vision.encoder import Encoded, Encoder, SlotCodes

CROPS = np.zeros((2, 3, 4, 4), dtype=np.uint8)


class FakeClip(Clip):
    """Answers with the activations it was given, whatever it is shown."""

    def __init__(self, residuals: dict[int, Tensor], embedding: Tensor) -> None:
        self.tapped, self.embedding = residuals, embedding
        self.device, self.dtype = embedding.device, embedding.dtype

    def residual_stream(
        self, pixels: Tensor, layers: Sequence[int], tokens: Sequence[int] | None
    ) -> TokenActivations:
        residuals = self.residuals(pixels, layers)
        finite = self.embedding.isfinite().all(dim=1)
        for residual in residuals.values():
            finite &= residual.isfinite().flatten(1).all(dim=1)
        kept = {at: all_of if tokens is None else all_of[:, list(tokens)] for at, all_of in residuals.items()}
        return TokenActivations(kept, self.embedding, finite)

    def forward(self, pixels: Tensor, layers: Sequence[int]) -> ResidualActivations:
        return ResidualActivations(self.residuals(pixels, layers), self.embedding)

    def residuals(self, pixels: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        assert pixels.dtype == torch.uint8
        return {layer: self.tapped[layer] for layer in layers}


def identity(layer: Layer, n: int, k: int | None) -> Sae:
    """An SAE whose feature i is dimension i of its input."""
    config = SaeConfig("topk" if k else "relu", layer, n, n, k, "none", source=f"{layer}.pt", sha256="")
    return Sae(config, Weights(torch.zeros(n), torch.eye(n), torch.eye(n)))


def encoder(
    residuals: dict[int, Tensor],
    tokens: Sequence[str],
    *,
    k: int | None = 2,
    embedding: Tensor | None = None,
    with_embed: bool = False,
) -> Encoder:
    n = next(iter(residuals.values())).shape[-1]
    clip = FakeClip(residuals, torch.ones(2, n) if embedding is None else embedding)
    layers: list[Layer] = [*residuals, "embed"] if with_embed else [*residuals]
    return Encoder(clip, {layer: identity(layer, n, k) for layer in layers}, tokens)


def encode(encoder: Encoder) -> Encoded:
    return encoder.encode(CROPS)


# image, token, dimension
ACTIVATIONS = torch.tensor(
    [
        [[5.0, 1.0, -1.0], [1.0, 4.0, 0.0], [0.0, 4.0, 3.0]],
        [[-2.0, -1.0, -3.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]],
    ]
)


def test_a_fixed_token_gives_the_k_pairs_of_that_token() -> None:
    found = encode(encoder({3: ACTIVATIONS}, ["cls", "2"])).codes
    assert list(found) == [Slot(3, "cls"), Slot(3, "2")]
    cls = found[Slot(3, "cls")]
    assert cls.lengths.tolist() == [2, 2]
    assert cls.features.tolist() == [0, 1, 1, 0]
    assert cls.values.tolist() == [5, 1, -1, -2]  # a TopK SAE keeps its k values whatever their sign
    assert cls.positions is None
    assert found[Slot(3, "2")].features.tolist() == [1, 2, 0, 1]


def test_any_is_the_maximum_over_the_tokens_at_the_first_token_that_reaches_it() -> None:
    found = encode(encoder({3: ACTIVATIONS}, ["any"])).codes[Slot(3, "any")]
    assert found.lengths.tolist() == [3, 2]
    assert found.features.tolist() == [
        0,
        1,
        2,
        0,
        1,
    ]  # image 1: token 2 keeps the first two of its three ties
    assert found.values.tolist() == [5, 4, 3, 2, 2]
    assert found.positions is not None
    assert found.positions.tolist() == [0, 1, 2, 2, 2]


def test_any_and_a_fixed_token_agree_whether_or_not_they_are_asked_together() -> None:
    alone, together = encoder({3: ACTIVATIONS}, ["cls"]), encoder({3: ACTIVATIONS}, ["cls", "any"])
    for a, b in zip(encode(alone).codes[Slot(3, "cls")], encode(together).codes[Slot(3, "cls")], strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 5), st.sampled_from([1, 3, None]))
def test_any_equals_the_brute_force_maximum(seed: int, n_tokens: int, n_features: int, k: int | None) -> None:
    random = torch.Generator().manual_seed(seed)
    activations = torch.randint(-3, 4, (2, n_tokens, n_features), generator=random).float()  # full of ties
    k = None if k is None else min(k, n_features)
    made = encoder({3: activations}, ["any"], k=k)
    found = encode(made).codes[Slot(3, "any")]
    expected: list[list[tuple[float, int, int]]] = []
    for image in activations:
        peaks: dict[int, tuple[float, int]] = {}
        codes = made.saes[3].encode(image)
        for token in range(n_tokens):
            for feature, value in zip(
                codes.features[token].tolist(), codes.values[token].tolist(), strict=True
            ):
                if value > peaks.get(feature, (0.0, 0))[0]:
                    peaks[feature] = (value, token)
        expected.append(sorted((-value, feature, token) for feature, (value, token) in peaks.items()))
    assert found.lengths.tolist() == [len(peaks) for peaks in expected]
    assert found.positions is not None
    pairs = zip((-found.values).tolist(), found.features.tolist(), found.positions.tolist(), strict=True)
    assert list(pairs) == [peak for peaks in expected for peak in peaks]


def test_the_padding_of_a_relu_sae_is_dropped() -> None:
    found = encode(encoder({3: ACTIVATIONS}, ["cls", "2"], k=None)).codes
    assert found[Slot(3, "cls")].lengths.tolist() == [2, 0]
    assert found[Slot(3, "cls")].features.tolist() == [0, 1]
    assert found[Slot(3, "2")].lengths.tolist() == [2, 3]
    assert found[Slot(3, "2")].values.tolist() == [4, 3, 2, 2, 2]


def test_the_embedding_is_a_slot_of_its_own() -> None:
    embedding = torch.tensor([[0.0, 0.5, 2.0], [1.0, -1.0, 0.25]])
    made = encoder({3: ACTIVATIONS}, ["any", "2"], embedding=embedding, with_embed=True)
    assert made.slots == [Slot(3, "any"), Slot(3, "2"), Slot("embed", "cls")]
    encoded = encode(made)
    found = encoded.codes[Slot("embed", "cls")]
    assert found.features.tolist() == [2, 1, 0, 2]
    assert found.values.tolist() == [2, 0.5, 1, 0.25]
    assert encoded.embeddings.dtype == np.float16
    assert encoded.embeddings.tolist() == embedding.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["residual", "embedding"])
def test_an_image_with_an_activation_that_is_not_finite_is_marked(bad: float, where: str) -> None:
    residual, embedding = ACTIVATIONS.clone(), torch.ones(2, 3)
    (residual[1, 2] if where == "residual" else embedding[1])[0] = bad
    # Even at a token that was not asked for: the image went wrong.
    assert encode(encoder({3: residual}, ["cls"], embedding=embedding)).finite.tolist() == [True, False]


def test_finite_images_are_marked_finite() -> None:
    assert encode(encoder({3: ACTIVATIONS}, ["any"])).finite.tolist() == [True, True]


def test_codes_are_one_list_an_image_in_slot_order_cut_at_k() -> None:
    made = encoder({3: ACTIVATIONS}, ["any", "cls"])
    first, second = made.codes(CROPS)
    assert [(code.layer, code.token) for code in first] == [(3, "any"), (3, "cls")]
    found = [(active.feature, active.activation, active.position) for active in first[0].features]
    assert found == [(0, 5.0, 0), (1, 4.0, 1)]  # of three that fire
    assert first[0].n_active == 3
    assert [active.position for active in first[1].features] == [None, None]
    assert [code.n_active for code in second] == [2, 0]  # at CLS both of its values are below zero
    assert [active.activation for active in second[1].features] == [-1.0, -2.0]


def test_the_codes_of_a_relu_sae_are_whole() -> None:
    (_, second) = encoder({3: ACTIVATIONS}, ["2"], k=None).codes(CROPS)
    assert [active.feature for active in second[0].features] == [0, 1, 2]


def test_a_decomposition_holds_every_token_of_every_layer_and_the_embedding() -> None:
    first, second = encoder({3: ACTIVATIONS}, ["cls"], with_embed=True).decompose(CROPS)
    assert list(first.layers) == [3, "embed"]
    assert first.layers[3].features.tolist() == [[0, 1], [1, 0], [1, 2]]
    assert first.layers[3].values.tolist() == [[5, 1], [4, 1], [4, 3]]
    assert second.layers[3].values.tolist() == [[-1, -2], [0, 0], [2, 2]]
    assert first.layers["embed"].values.tolist() == [[1, 1]]
    assert first.embedding is not None
    assert first.embedding.tolist() == [1, 1, 1]


def test_a_decomposition_says_of_each_token_how_much_is_left_over() -> None:
    (first, _) = encoder({3: ACTIVATIONS}, ["cls"]).decompose(CROPS)
    # The identity keeps the two highest: what is left of a token is its lowest dimension.
    assert first.layers[3].mse.tolist() == [1, 0, 0]
    spread = 25 + 1 + 1 - 25 / 3
    np.testing.assert_allclose(first.layers[3].explained_variance, [1 - 1 / spread, 1, 1], rtol=1e-6)


def test_masses_are_activations_times_the_lengths_of_decoder_rows() -> None:
    made = encoder({3: ACTIVATIONS}, ["cls"])
    made.saes[3].dec.mul_(torch.tensor([[2.0], [3.0], [5.0]]))
    (first, second) = made.decompose(CROPS)
    assert first.layers[3].masses.tolist() == [[10, 3], [12, 2], [12, 15]]
    assert second.layers[3].masses[:2].tolist() == [[0, 0], [0, 0]]


def test_only_what_is_asked_for_is_decomposed() -> None:
    made = encoder({1: ACTIVATIONS, 3: ACTIVATIONS}, ["cls"], with_embed=True)
    made.clip.forward = None  # type: ignore[method-assign, assignment]
    (first, _) = made.decompose(CROPS, [3], embedding=False)
    assert list(first.layers) == [3]
    assert first.embedding is None


def test_each_image_of_a_relu_sae_is_as_wide_as_its_own_busiest_token() -> None:
    first, second = encoder({3: ACTIVATIONS - 2.5}, ["cls"], k=None).decompose(CROPS)
    assert first.layers[3].values.tolist() == [[2.5, 0], [1.5, 0], [1.5, 0.5]]
    assert second.layers[3].values.shape == (3, 0)
    assert first.layers[3].k is None


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, None]))
def test_codes_from_a_decomposition_equal_those_that_an_index_keeps(seed: int, k: int | None) -> None:
    random = torch.Generator().manual_seed(seed)
    activations = torch.randint(-3, 4, (2, 4, 5), generator=random).float()
    made = encoder({3: activations}, ["cls", "2", "any"], k=k)
    kept = encode(made).codes
    for row, codes in enumerate(made.codes(CROPS)):
        for slot, code in zip(made.slots, codes, strict=True):
            start, length = int(kept[slot].lengths[:row].sum()), int(kept[slot].lengths[row])
            listed = slice(start, start + min(length, k or length))
            assert [one.feature for one in code.features] == kept[slot].features[listed].tolist()
            assert [one.activation for one in code.features] == kept[slot].values[listed].tolist()


@pytest.mark.parametrize(("n", "features"), [(0, []), (1, [7]), (2, [7]), (3, [7, 8, 9]), (9, [7, 8, 9])])
def test_the_first_images_of_a_batch_keep_their_own_pairs(n: int, features: list[int]) -> None:
    codes = SlotCodes(
        np.array([1, 0, 2], np.int32),
        np.array([7, 8, 9], np.int32),
        np.array([3, 2, 1], np.float32),
        np.array([0, 5, 6], np.int16),
    )
    found = codes.first(n)
    assert found.lengths.tolist() == [1, 0, 2][:n]
    assert found.features.tolist() == features
    assert found.values.tolist() == [3, 2, 1][: len(features)]
    assert found.positions is not None
    assert len(found.positions) == len(features)
    assert codes._replace(positions=None).first(n).positions is None


def test_the_first_images_of_a_batch_are_first_in_every_part() -> None:
    encoded = encode(encoder({3: ACTIVATIONS}, ["any"], with_embed=True)).first(1)
    assert [len(codes.lengths) for codes in encoded.codes.values()] == [1, 1]
    assert (len(encoded.embeddings), len(encoded.finite)) == (1, 1)


def test_images_that_are_not_kept_take_their_pairs_with_them() -> None:
    codes = SlotCodes(
        np.array([1, 0, 2], np.int32),
        np.array([7, 8, 9], np.int32),
        np.array([3, np.inf, 1], np.float32),
        np.array([0, 5, 6], np.int16),
    )
    assert codes.finite_images().tolist() == [True, True, False]
    kept = codes.only(np.array([False, True, True]))
    assert (kept.lengths.tolist(), kept.features.tolist()) == ([0, 2], [8, 9])
    assert kept.positions is not None
    assert kept.positions.tolist() == [5, 6]


def test_an_image_whose_code_or_embedding_overflows_is_marked() -> None:
    embedding = torch.ones(2, 3)
    embedding[0, 1] = 70_000  # finite, but not in half precision
    made = encoder({3: ACTIVATIONS}, ["cls"], embedding=embedding)
    assert encode(made).finite.tolist() == [False, True]
    made = encoder({3: ACTIVATIONS}, ["any"])
    made.saes[3].enc.mul_(3e38)  # image 0 reaches 5, image 1 reaches 2
    assert encode(made).finite.tolist() == [False, False]


def test_any_in_blocks_of_images_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = encode(encoder({3: ACTIVATIONS}, ["any", "2"])).codes
    monkeypatch.setattr(encoder_module, "MAX_DENSE_BYTES", 1)
    for slot, found in encode(encoder({3: ACTIVATIONS}, ["any", "2"])).codes.items():
        for one, other in zip(found, whole[slot], strict=True):
            np.testing.assert_array_equal(one, other)
