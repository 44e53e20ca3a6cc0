"""SAELens files: both config layouts, its two supported architectures, and refusal of the rest."""

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


def save(path: Path, **config: object) -> Path:
    return save_random_saelens(path, layer=11, d_in=6, n_features=20, config=config)


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
        ({"architecture": "jumprelu"}, "architecture is 'jumprelu'; supported: 'standard', 'topk'"),
        ({"architecture": "gated"}, "architecture is 'gated'"),
        ({"activation_fn_str": "tanh-relu"}, "activation is 'tanh-relu'; supported: 'relu', 'topk'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations is 'layer_norm'; supported: 'none'"),
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
