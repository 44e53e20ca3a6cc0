"""sparsify files: TopK and GroupMax by its formula, the hook point in the folder's name, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from scopeview.errors import CheckpointError
from tests.scopeview.importers.twins import (
    D_IN,
    N_FEATURES,
    Dense,
    K,
    assert_equal,
    load,
    raw,
    relu,
    source_of,
    tensors,
    topk,
    wide,
)

STATE = tensors(
    encoder__weight=(N_FEATURES, D_IN), encoder__bias=(N_FEATURES,), W_dec=(N_FEATURES, D_IN), b_dec=(D_IN,)
)


def save(path: Path, hookpoint: str = "layers.3", **config: object) -> Path:
    folder = path / hookpoint
    folder.mkdir(parents=True)
    save_file(STATE, folder / "sae.safetensors")
    fields = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": N_FEATURES,
        "k": K,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": D_IN,
    }
    (folder / "cfg.json").write_text(json.dumps({**fields, **config}))
    return folder


def twin() -> Dense:
    w = wide(STATE)
    return relu((raw() - w["b_dec"]) @ w["encoder.weight"].T + w["encoder.bias"])


def rebuilt(codes: Dense) -> Dense:
    w = wide(STATE)
    return codes @ w["W_dec"] + w["b_dec"]


def test_topk_selects_after_the_relu(tmp_path: Path) -> None:
    save(tmp_path)
    assert source_of(tmp_path).config.layer == 3
    assert_equal(load(tmp_path), topk(twin()), rebuilt(topk(twin())))


def test_groupmax_keeps_one_of_each_group(tmp_path: Path) -> None:
    save(tmp_path, activation="groupmax")
    groups = twin().reshape(len(twin()), K, -1)
    codes = np.where(groups == groups.max(axis=2, keepdims=True), groups, 0).reshape(twin().shape)
    assert_equal(load(tmp_path), codes, rebuilt(codes))


@pytest.mark.parametrize(
    "hookpoint",
    ["layers.3", "encoder.layers.3", "vision_model.encoder.layers.3", "encoder.layer.3", "blocks.3"],
)
def test_hook_points_of_blocks_are_known(tmp_path: Path, hookpoint: str) -> None:
    assert source_of(save(tmp_path, hookpoint)).config.layer == 3


def test_a_folder_of_another_name_needs_the_layer(tmp_path: Path) -> None:
    folder = save(tmp_path, "mine")
    with pytest.raises(CheckpointError, match=r"cannot tell which layer .*sae\.safetensors is for"):
        source_of(folder)
    assert source_of(folder, [7]).config.layer == 7


@pytest.mark.parametrize(
    ("hookpoint", "config", "expected"),
    [
        ("layers.3", {"transcode": True}, "transcode is True; supported: False"),
        ("layers.3", {"skip_connection": True}, "skip_connection is True"),
        ("layers.3", {"activation": "relu"}, "activation is 'relu'; supported: 'topk', 'groupmax'"),
        ("layers.3", {"activation": "groupmax", "k": 3}, "20 features do not make k = 3 groups"),
        ("layers.3", {"d_in": 7}, "tensor encoder.weight has shape [20, 6]; expected [20, 7]"),
        ("layers.3", {"k": 21}, "k is 21"),
        ("layers.3.mlp", {}, "is 'layers.3.mlp'; supported is the residual stream after a block"),
    ],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, hookpoint: str, config: dict[str, object], expected: str
) -> None:
    save(tmp_path, hookpoint, **config)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path, [3])
    assert str(tmp_path / hookpoint) in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_tensor_and_a_nan_are_named(tmp_path: Path) -> None:
    path = save(tmp_path) / "sae.safetensors"
    state = load_file(path)
    state["W_dec"][2, 1] = float("nan")
    save_file(state, path)
    with pytest.raises(CheckpointError, match="W_dec holds 1 values that are not finite"):
        load(tmp_path)
    del state["b_dec"]
    save_file(state, path)
    with pytest.raises(CheckpointError, match="missing: b_dec"):
        source_of(tmp_path)
