"""Prisma files: its normalisations and architectures by formula, old pickled configs, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.errors import CheckpointError
from scopeview.sae.model_match import TrainedOn
from tests.scopeview.importers.twins import (
    D_IN,
    N_FEATURES,
    Dense,
    K,
    assert_equal,
    load,
    pickled_class,
    raw,
    relu,
    source_of,
    tensors,
    topk,
    wide,
)

STATE = tensors(W_enc=(D_IN, N_FEATURES), b_enc=(N_FEATURES,), W_dec=(N_FEATURES, D_IN), b_dec=(D_IN,))
GATES = tensors(1, b_gate=(N_FEATURES,), r_mag=(N_FEATURES,), b_mag=(N_FEATURES,))
CONFIG: dict[str, object] = {
    "model_name": "open-clip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
    "hook_point_layer": 3,
    "layer_subtype": "hook_resid_post",
    "cached_activations_path": "activations/blocks.9.hook_mlp_out",
    "d_in": D_IN,
    "expansion_factor": 64,
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "normalize_activations": "layer_norm",
    "architecture": "standard",
    "is_transcoder": False,
    "dtype": {"__type__": "torch.dtype", "value": "torch.float32"},
}


def save(path: Path, **config: object) -> Path:
    state = {**STATE, **(GATES if config.get("architecture") == "gated" else {})}
    torch.save(state, path / "n_images_2600058.pt")
    (path / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return path


def normal(kind: object) -> tuple[Dense, Dense, Dense]:
    """(input, scale, shift) with x = input * scale + shift."""
    x = raw()
    if kind == "layer_norm":
        mean, std = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
        return (x - mean) / (std + 1e-5), std, mean
    scale = np.linalg.norm(x, axis=1, keepdims=True) / D_IN**0.5
    return (
        (x / scale, scale, np.zeros(1)) if kind == "constant_norm_rescale" else (x, np.ones(1), np.zeros(1))
    )


@pytest.mark.parametrize("kind", ["layer_norm", "constant_norm_rescale", "none", None])
@pytest.mark.parametrize("architecture", ["standard", "topk", "gated"])
def test_every_form_is_computed_by_its_formula(tmp_path: Path, kind: str | None, architecture: str) -> None:
    w, (x, scale, shift) = wide({**STATE, **GATES}), normal(kind)
    if architecture == "topk":
        activation = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
        save(tmp_path, normalize_activations=kind, **activation)
    else:
        save(tmp_path, normalize_activations=kind, architecture=architecture)
    a = (x - w["b_dec"]) @ w["W_enc"]
    codes = relu(a + w["b_enc"])
    if architecture == "topk":
        codes = relu(topk(a + w["b_enc"]))
    if architecture == "gated":
        codes = (a + w["b_gate"] > 0) * relu(np.exp(w["r_mag"]) * a + w["b_mag"])
    assert_equal(load(tmp_path), codes, (codes @ w["W_dec"] + w["b_dec"]) * scale + shift)


def test_the_site_is_the_hook_point_and_not_the_cache(tmp_path: Path) -> None:
    source = source_of(save(tmp_path))
    assert source.config.layer == 3
    assert source.trained_on == TrainedOn("open-clip:laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K")
    assert source_of(save(tmp_path, layer_subtype="hook_resid_pre")).config.layer == 2
    assert source_of(save(tmp_path, hook_point_layer=[3])).config.layer == 3
    assert source_of(tmp_path / "n_images_2600058.pt").config.layer == 3
    assert source_of(tmp_path / "config.json").config.layer == 3


def test_it_says_which_tokens_were_seen(tmp_path: Path) -> None:
    assert source_of(save(tmp_path, cls_token_only=True)).remarks == ("was trained on CLS only",)
    assert source_of(save(tmp_path)).remarks == ()


def test_an_old_file_with_its_config_pickled_is_read_by_a_stand_in(tmp_path: Path) -> None:
    values = {**CONFIG, "dtype": torch.float32, "device": torch.device("cuda"), "vit_model_cfg": None}
    path = tmp_path / "weights.pt"
    with pickled_class("vit_prisma.sae.config.VisionModelSAERunnerConfig", values) as config:
        torch.save({"cfg": config, "state_dict": STATE}, path)
    w, (x, scale, shift) = wide(STATE), normal("layer_norm")
    codes = relu((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    assert_equal(load(path), codes, (codes @ w["W_dec"] + w["b_dec"]) * scale + shift)


def test_an_old_file_may_have_its_config_as_a_dict(tmp_path: Path) -> None:
    torch.save({"cfg": {**CONFIG, "hook_point_layer": 5}, "state_dict": STATE}, tmp_path / "sae.pt")
    assert source_of(tmp_path).config.layer == 5
    assert load(tmp_path / "sae.pt").config.normalization == "layer_norm"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"is_transcoder": True}, "is a transcoder"),
        ({"architecture": "jumprelu"}, "architecture is 'jumprelu'; supported: 'standard', 'gated'"),
        ({"layer_subtype": "hook_mlp_out"}, "is 'blocks.3.hook_mlp_out'; supported is the residual stream"),
        ({"activation_fn_str": "tanh-relu"}, "activation_fn_str is 'tanh-relu'; supported: 'relu', 'topk'"),
        ({"activation_fn_str": "topk"}, "k is None"),
        ({"architecture": "gated", "activation_fn_str": "topk"}, "activation_fn_str is 'topk'; supported"),
        ({"normalize_activations": "expected_average_only_in"}, "normalize_activations is 'expected_av"),
        ({"d_in": 7}, "d_in says 7 but the weights have 6"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, config: dict[str, object], expected: str) -> None:
    save(tmp_path, **config)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert "n_images_2600058.pt" in str(caught.value)
    assert expected in str(caught.value)
