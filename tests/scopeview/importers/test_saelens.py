"""SAELens files: both config layouts, its architectures and normalisations, and refusal of the rest."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from scopeview.errors import CheckpointError
from scopeview.importers import load_sae, read_suite
from scopeview.sae.autoencoder import Sae
from scopeview.sae.model_match import TrainedOn
from tests.saes import save_random_saelens

Dense = NDArray[np.float64]
X = torch.randn(7, 6, generator=torch.Generator().manual_seed(9))


TENSORS = {"jumprelu": ["b_enc", "threshold"], "gated": ["b_gate", "r_mag", "b_mag"]}


def save(path: Path, **config: object) -> Path:
    tensors = TENSORS.get(str(config.get("architecture")), ["b_enc"])
    sizes = {"layer": 11, "d_in": 6, "n_features": 20}
    return save_random_saelens(path, **sizes, config=config, instead_of_b_enc=tensors)


def load(path: Path) -> Sae:
    return load_sae(read_suite(str(path)).sources[0])


def twin(folder: Path, *, subtract: bool = True, k: int | None = None, rescale: bool = False) -> Dense:
    """The dense activations by SAELens' formula, in float64."""
    w = {name: t.double().numpy() for name, t in load_file(folder / "sae_weights.safetensors").items()}
    pre = (X.double().numpy() - w["b_dec"] * subtract) @ w["W_enc"] + w["b_enc"]
    if rescale:
        pre = pre * np.linalg.norm(w["W_dec"], axis=1)
    if k is not None:
        pre = np.where(pre >= np.sort(pre, axis=1)[:, -k, None], pre, 0)
    active: Dense = np.maximum(pre, 0)
    return active


def weights(folder: Path) -> dict[str, Dense]:
    stored = load_file(folder / "sae_weights.safetensors")
    return {name: tensor.double().numpy() for name, tensor in stored.items()}


def dense(sae: Sae) -> Dense:
    codes = sae.encode(X)
    return torch.zeros(len(X), 20).scatter(1, codes.features, codes.values).double().numpy()


def test_the_standard_architecture_is_relu(tmp_path: Path) -> None:
    folder = save(tmp_path)
    sae = load(tmp_path)
    assert (sae.config.architecture, sae.config.layer, sae.config.normalization) == ("relu", 11, "none")
    np.testing.assert_allclose(dense(sae), twin(folder), atol=1e-6)


def test_topk_applies_relu_after_choosing(tmp_path: Path) -> None:
    folder = save(tmp_path, architecture="topk", k=15)
    sae = load(tmp_path)
    assert sae.config.relu_after_topk
    assert (sae.encode(X).values >= 0).all()
    np.testing.assert_allclose(dense(sae), twin(folder, k=15), atol=1e-6)


def test_the_decoders_bias_is_not_taken_off_where_the_config_says_so(tmp_path: Path) -> None:
    folder = save(tmp_path, apply_b_dec_to_input=False)
    np.testing.assert_allclose(dense(load(tmp_path)), twin(folder, subtract=False), atol=1e-6)


def test_rescaling_by_decoder_norm_is_folded_into_the_weights(tmp_path: Path) -> None:
    folder = save(tmp_path, architecture="topk", k=5, rescale_acts_by_decoder_norm=True)
    sae = load(tmp_path)
    expected = twin(folder, k=5, rescale=True)
    np.testing.assert_allclose(dense(sae), expected, atol=1e-6)
    w = {name: t.double().numpy() for name, t in load_file(folder / "sae_weights.safetensors").items()}
    rows = w["W_dec"] / np.linalg.norm(w["W_dec"], axis=1, keepdims=True)
    np.testing.assert_allclose(sae(X).x_hat, expected @ rows + w["b_dec"], atol=1e-5)


def test_jumprelu_fires_above_its_threshold(tmp_path: Path) -> None:
    w = weights(save(tmp_path, architecture="jumprelu"))
    pre = (X.double().numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    expected = np.where(pre > w["threshold"], np.maximum(pre, 0), 0)
    assert load(tmp_path).config.architecture == "jumprelu"
    np.testing.assert_allclose(dense(load(tmp_path)), expected, atol=1e-6)


def test_a_gated_sae_is_read_as_the_jumprelu_that_it_is(tmp_path: Path) -> None:
    w = weights(save(tmp_path, architecture="gated"))
    a = (X.double().numpy() - w["b_dec"]) @ w["W_enc"]
    expected = np.where(a + w["b_gate"] > 0, np.maximum(a * np.exp(w["r_mag"]) + w["b_mag"], 0), 0)
    assert load(tmp_path).config.architecture == "jumprelu"
    np.testing.assert_allclose(dense(load(tmp_path)), expected, atol=1e-6)


def test_abstopk_keeps_signs_and_says_what_is_made_of_them(tmp_path: Path) -> None:
    w = weights(save(tmp_path, architecture="abstopk", k=5))
    pre = (X.double().numpy() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    expected = np.where(np.abs(pre) >= np.sort(np.abs(pre), axis=1)[:, -5, None], pre, 0)
    np.testing.assert_allclose(dense(load(tmp_path)), expected, atol=1e-6)
    assert (expected < 0).any()
    assert "can be negative" in read_suite(str(tmp_path)).sources[0].remarks[0]


@pytest.mark.parametrize("subtract", [True, False])
def test_layer_norm_is_computed_and_undone(tmp_path: Path, subtract: bool) -> None:
    w = weights(save(tmp_path, normalize_activations="layer_norm", apply_b_dec_to_input=subtract))
    x = X.double().numpy()
    mean, std = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
    normal = (x - mean) / (std + 1e-5)
    expected = np.maximum((normal - w["b_dec"] * subtract) @ w["W_enc"] + w["b_enc"], 0)
    sae = load(tmp_path)
    np.testing.assert_allclose(dense(sae), expected, atol=1e-6)
    rebuilt = (expected @ w["W_dec"] + w["b_dec"]) * std + mean
    np.testing.assert_allclose(sae.denormalize(sae(X).x_hat, X), rebuilt, atol=1e-5)


def test_constant_norm_is_computed_and_undone(tmp_path: Path) -> None:
    w = weights(save(tmp_path, normalize_activations="constant_norm_rescale"))
    x = X.double().numpy()
    factor = 6**0.5 / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.maximum((x * factor - w["b_dec"]) @ w["W_enc"] + w["b_enc"], 0)
    sae = load(tmp_path)
    np.testing.assert_allclose(dense(sae), expected, atol=1e-6)
    rebuilt = (expected @ w["W_dec"] + w["b_dec"]) / factor
    np.testing.assert_allclose(sae.denormalize(sae(X).x_hat, X), rebuilt, atol=1e-5)


@pytest.mark.parametrize("folded", ["expected_average_only_in", "covariance_whitening"])
def test_what_saelens_folds_into_the_weights_is_not_computed_again(tmp_path: Path, folded: str) -> None:
    folder = save(tmp_path, normalize_activations=folded)
    [source] = read_suite(str(tmp_path)).sources
    assert source.config.normalization == "none"
    assert folded in source.notes[0]
    np.testing.assert_allclose(dense(load(tmp_path)), twin(folder), atol=1e-6)


def test_the_flat_config_of_older_versions_is_read(tmp_path: Path) -> None:
    folder = save(
        tmp_path,
        metadata=None,
        hook_layer=11,
        hook_name="blocks.11.hook_resid_post",
        hook_head_index=None,
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 5},
    )
    sae = load(tmp_path)
    assert (sae.config.layer, sae.config.architecture, sae.config.k) == (11, "topk", 5)
    np.testing.assert_allclose(dense(sae), twin(folder, k=5), atol=1e-6)


@pytest.mark.parametrize("meaning_none", [{"normalize_activations": False}, {"k": 7.0}])
def test_what_older_versions_write_is_read(tmp_path: Path, meaning_none: dict[str, object]) -> None:
    save(tmp_path, **meaning_none)
    load(tmp_path)


def test_a_null_normalisation_is_none(tmp_path: Path) -> None:
    path = save(tmp_path) / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "normalize_activations": None}))
    assert load(tmp_path).config.normalization == "none"


@pytest.mark.parametrize(
    ("hook", "layer"),
    [
        ("blocks.3.hook_resid_post", 3),
        ("blocks.3.hook_resid_pre", 2),
        ("vision_model.encoder.layers.3", 3),
        ("visual.transformer.resblocks.3", 3),
        ("layer_3", 3),
    ],
)
@pytest.mark.parametrize("key", ["hook_name", "hook_point"])
def test_every_name_of_the_residual_stream_is_understood(
    tmp_path: Path, key: str, hook: str, layer: int
) -> None:
    save(tmp_path, metadata=None, **{key: hook})
    assert read_suite(str(tmp_path)).layers == [layer]


def test_its_weight_file_stands_for_it(tmp_path: Path) -> None:
    path = save(tmp_path) / "sae_weights.safetensors"
    assert read_suite(str(path)).layers == [11]


@pytest.mark.parametrize(
    "named", [{"metadata": {"hook_layer": 3, "model_name": "openai/clip"}}, {"model_name": "openai/clip"}]
)
def test_the_model_it_was_trained_on_is_read(tmp_path: Path, named: dict[str, object]) -> None:
    save(tmp_path, **named)
    assert read_suite(str(tmp_path)).sources[0].trained_on == TrainedOn("openai/clip")


def test_the_layer_may_come_from_hook_layer_alone(tmp_path: Path) -> None:
    save(tmp_path, metadata={"hook_layer": 3})
    assert read_suite(str(tmp_path)).layers == [3]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architecture": "temporal"}, "architecture is 'temporal'; supported: 'standard', 'topk', 'abst"),
        ({"architecture": "matching_pursuit"}, "architecture is 'matching_pursuit'"),
        ({"architecture": "transcoder"}, "architecture is 'transcoder'"),
        ({"architecture": "skip_transcoder"}, "architecture is 'skip_transcoder'"),
        ({"architecture": "batchtopk"}, "architecture is 'batchtopk'"),
        ({"activation_fn_str": "tanh-relu"}, "activation is 'tanh-relu'; supported: 'relu', 'topk'"),
        ({"normalize_activations": "tanh"}, "normalize_activations is 'tanh'; supported: 'none', 'expected"),
        ({"reshape_activations": "hook_z"}, "reshape_activations is 'hook_z'"),
        ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor is True; supported: False"),
        ({"architecture": "topk"}, "k is None"),
        ({"metadata": {}}, "does not say its layer"),
        ({"metadata": {"hook_name": "blocks.3.hook_mlp_out"}}, "supported is the residual stream"),
        ({"metadata": {"hook_name": "blocks.0.hook_resid_pre"}}, "before the first block"),
        ({"hook_layer": 4}, "hook_layer is 4 but hook_name is 'blocks.11.hook_resid_post'"),
        ({"d_sae": 21}, "tensor W_enc has shape [6, 20]; expected [6, 21]"),
        ({"d_in": None}, "d_in is missing"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    tmp_path: Path, config: dict[str, object], expected: str
) -> None:
    folder = save(tmp_path, **config)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(folder) in str(caught.value)
    assert expected in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path) / "sae_weights.safetensors"
    tensors = load_file(path)
    tensors["W_dec"][0, 0] = float("inf")
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="W_dec holds 1 values that are not finite"):
        load(tmp_path)


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    (save(tmp_path) / "cfg.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no cfg\.json beside it"):
        load(tmp_path)


def test_an_extra_threshold_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path)
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), "threshold": torch.zeros(20)}, path)
    with pytest.raises(CheckpointError, match="unknown: threshold"):
        load(tmp_path)
    assert json.loads((folder / "cfg.json").read_text())["architecture"] == "standard"
