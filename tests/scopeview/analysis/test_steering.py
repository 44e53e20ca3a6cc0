"""Turned features: worked out by hand on a network of one matrix, and harmless where nothing is turned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import Edit, FeatureEdits
from scopeview.analysis.heatmap import feature_heatmaps
from scopeview.analysis.steering import read_logit_scale, steer
from scopeview.errors import ModelError
from scopeview.importers import load_sae, read_suite
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED, Layer
from scopeview.vision.clip import Clip, ResidualActivations
from scopeview.vision.encoder import Encoder
from tests.indexer.tiny import IMAGE_PX, N_FEATURES, WIDTH, write_model, write_suite
from tests.scopeview.layer_decompositions import layer_decomposition

CROP = np.zeros((3, 4, 4), np.uint8)
RESIDUAL = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])


class MatrixClip(Clip):
    """The residual stream is given; the rest of the network adds up the tokens and turns that by a matrix."""

    def __init__(self) -> None: ...

    def forward(self, pixels: Tensor, layers: Sequence[int]) -> ResidualActivations:
        assert pixels.shape == (1, *CROP.shape)
        return ResidualActivations(dict.fromkeys(layers, RESIDUAL), self.resume(RESIDUAL, 0))

    def resume(self, residual: Tensor, from_layer: int, registers: Tensor | None = None) -> Tensor:
        del from_layer, registers
        return residual.sum(dim=1) @ torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])


def sae_by_hand(layer: Layer, d_in: int) -> Sae:
    config = SaeConfig("topk", layer, d_in, 3, 2, "none", source="", sha256="")
    dec = torch.tensor([[1.0, 0.0, 0.0], [0.0, 10.0, 0.0], [5.0, 5.0, 0.0]])[:, :d_in]
    return Sae(config, Weights(torch.full((d_in,), 7.0), torch.zeros(d_in, 3), dec))


CODE = layer_decomposition([[0, 1], [1, 2]], [[2, 1], [3, 0.5]])


def turned(sae: Sae, *edits: Edit, tokens: tuple[int, ...] | None = None) -> list[float]:
    found = steer(MatrixClip(), sae, CROP, CODE, FeatureEdits(1, edits, tokens))
    assert found.before.tolist() == [4, 6, 10]
    after: list[float] = found.after.tolist()
    return after


def test_the_decoder_rows_of_what_is_turned_are_added_to_the_stream() -> None:
    # Feature 1 loses 1 at token 0 and 3 at token 1, each 10 in the second dimension.
    assert turned(sae_by_hand(1, 2), Edit((1,), "set", 0.0)) == [4, 6 - 40, 10 - 40]
    assert turned(sae_by_hand(1, 2), Edit((1,), "scale", 2.0), tokens=(0,)) == [4, 6 + 10, 10 + 10]
    assert turned(sae_by_hand(1, 2), Edit((2,), "set", 1.0)) == [4 + 7.5, 6 + 7.5, 10 + 15]


def test_a_standardised_sae_is_taken_back_to_the_streams_own_units() -> None:
    stats = Standardization(torch.tensor([100.0, 100.0]), torch.tensor([3.0, 0.5]), 9, eps=0.0)
    sae = sae_by_hand(1, 2).with_standardization(stats)
    assert turned(sae, Edit((0,), "set", 0.0), Edit((1,), "set", 0.0)) == [4 - 6, 6 - 20, 10 - 6 - 20]
    assert turned(sae.without_standardization(), Edit((0,), "set", 0.0)) == [4 - 2, 6, 10 - 2]


def test_a_normalisation_by_token_is_taken_back_token_by_token() -> None:
    # The tokens (1, 2) and (3, 4) have the standard deviation sqrt(1/2) (n - 1), and the norms sqrt(5) and 5.
    removed = (Edit((0,), "set", 0.0), Edit((1,), "set", 0.0))  # 2 and 10 at token 0, 30 at token 1
    by_std = turned(sae_by_hand(1, 2).with_normalization("layer_norm"), *removed)
    np.testing.assert_allclose(by_std[:2], [4 - 2 * 0.5**0.5, 6 - 40 * 0.5**0.5], rtol=1e-6)
    by_norm = turned(sae_by_hand(1, 2).with_normalization("constant_norm"), *removed)
    lengths = np.sqrt([5, 25]) / np.sqrt(2)
    np.testing.assert_allclose(by_norm[:2], [4 - 2 * lengths[0], 6 - [10, 30] @ lengths], rtol=1e-6)


def test_at_the_embedding_the_embedding_itself_is_edited() -> None:
    one_token = layer_decomposition([[0, 2]], [[2, 1]])
    knobs = FeatureEdits(EMBED, (Edit((2,), "set", 3.0),))
    found = steer(MatrixClip(), sae_by_hand(EMBED, 3), CROP, one_token, knobs)
    assert (found.after - found.before).tolist() == [10, 10, 0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """A whole small model; its first SAE standardises."""
    folder = tmp_path_factory.mktemp("steering")
    suite = read_suite(str(write_suite(folder / "suite")))
    saes = {source.layer: load_sae(source) for source in suite.sources}
    random = torch.Generator().manual_seed(0)
    std = 0.5 + torch.rand(WIDTH, generator=random)
    saes[1] = saes[1].with_standardization(Standardization(torch.zeros(WIDTH), std, 100))
    return Encoder(Clip.load(str(write_model(folder / "clip"))), saes, ["cls"])


IMAGE = np.random.default_rng(0).integers(0, 256, (3, IMAGE_PX, IMAGE_PX), dtype=np.uint8)


def apart(encoder: Encoder, layer: Layer) -> LayerDecomposition:
    return encoder.decompose(IMAGE[None], [layer])[0].layers[layer]


@pytest.mark.parametrize("layer", [1, EMBED])
def test_what_is_left_as_it_is_leaves_the_embedding_as_it_is(encoder: Encoder, layer: Layer) -> None:
    found = apart(encoder, layer)
    for edits in ((), (Edit(tuple(range(N_FEATURES)), "scale", 1.0),)):
        same = encoder.steer(IMAGE, found, FeatureEdits(layer, edits))
        assert np.abs(same.after - same.before).max() <= 1e-5
        (plain,) = encoder.decompose(IMAGE[None], [])
        assert plain.embedding is not None
        np.testing.assert_allclose(same.before, plain.embedding, atol=1e-5)


@pytest.mark.parametrize("layer", [1, EMBED])
def test_all_features_set_to_their_own_values_leave_the_embedding_as_it_is(
    encoder: Encoder, layer: Layer
) -> None:
    found = apart(encoder, layer)
    for token in range(found.n_tokens):
        own = feature_heatmaps(found, range(N_FEATURES))[:, token].tolist()
        edits = tuple(Edit((feature,), "set", value) for feature, value in enumerate(own))
        same = encoder.steer(IMAGE, found, FeatureEdits(layer, edits, (token,)))
        assert np.abs(same.after - same.before).max() <= 1e-5


def test_in_bfloat16_too_an_edit_of_nothing_changes_nothing(encoder: Encoder) -> None:
    rounded = Encoder(Clip.load(str(encoder.clip.folder), dtype=torch.bfloat16), encoder.saes, ["cls"])
    found = apart(rounded, 1)
    own = feature_heatmaps(found, range(N_FEATURES))[:, 0].tolist()
    kept = tuple(Edit((feature,), "set", value) for feature, value in enumerate(own))
    for edits, tokens in (((), None), (kept, (0,))):
        same = rounded.steer(IMAGE, found, FeatureEdits(1, edits, tokens))
        assert np.abs(same.after - same.before).max() <= 1e-5


def test_a_turned_feature_moves_the_embedding_and_turning_it_back_undoes_it(encoder: Encoder) -> None:
    found = apart(encoder, 1)
    feature = int(found.features[0, 0])
    away = encoder.steer(IMAGE, found, FeatureEdits(1, (Edit((feature,), "scale", 0.0),)))
    assert np.abs(away.after - away.before).max() > 1e-3
    back = encoder.steer(
        IMAGE, found, FeatureEdits(1, (Edit((feature,), "scale", 4.0), Edit((feature,), "scale", 0.25)))
    )
    assert np.abs(back.after - back.before).max() <= 1e-5


def test_edited_stream_is_what_another_run_of_the_network_makes_of_it(encoder: Encoder) -> None:
    found = apart(encoder, 1)
    away = encoder.steer(IMAGE, found, FeatureEdits(1, (Edit(tuple(range(N_FEATURES)), "set", 0.0),)))
    sae = encoder.saes[1]
    x = encoder.clip.residuals(torch.from_numpy(IMAGE)[None], [1])[1][0]
    rebuilt = sae(x)
    assert sae.standardization is not None
    scale = sae.standardization.std + sae.standardization.eps
    emptied = x - (rebuilt.x_hat - sae.pre_b) * scale
    expected = encoder.clip.resume(emptied[None], 1)[0].numpy()
    np.testing.assert_allclose(away.after, expected, atol=1e-4)


def test_directions_are_the_decoders_rows(encoder: Encoder) -> None:
    np.testing.assert_array_equal(encoder.directions(1, [5, 2]), encoder.saes[1].dec[[5, 2]].numpy())


def test_the_logit_scale_is_the_models_own(encoder: Encoder, tmp_path: Path) -> None:
    assert encoder.logit_scale == pytest.approx(np.exp(2.6592), rel=1e-4)
    nowhere = MatrixClip()
    nowhere.folder = tmp_path
    with pytest.raises(ModelError, match="no weights"):
        read_logit_scale(nowhere)
