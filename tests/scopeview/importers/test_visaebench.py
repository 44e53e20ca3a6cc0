"""VISAEBench files: its three activations by formula, both namings of tensors, thresholds, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scopeview.errors import CheckpointError
from scopeview.sae.autoencoder import Sae
from scopeview.sae.normalization import Standardization
from tests.scopeview.importers.twins import (
    D_IN,
    N_FEATURES,
    Dense,
    K,
    X,
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
    encoder__weight=(N_FEATURES, D_IN), encoder__bias=(N_FEATURES,), decoder__weight=(N_FEATURES, D_IN)
)
LIMITS = torch.linspace(0.1, 2, N_FEATURES)
W = wide(STATE)


def save(path: Path, activation: str, as_safetensors: bool = False, **more: torch.Tensor) -> Path:
    folder = path / f"{activation}_16x_k{K}"
    folder.mkdir(parents=True)
    state = {**STATE, **{name.replace("__", "."): tensor for name, tensor in more.items()}}
    if as_safetensors:
        save_file(state, folder / "model.safetensors")
    else:
        torch.save(state, folder / "sae.pt")
    write(folder, activation=activation)
    return folder


def write(folder: Path, **config: object) -> None:
    fields = {"activation": "topk", "input_dim": D_IN, "hidden_dim": N_FEATURES, "k": K, **config}
    (folder / "config.json").write_text(json.dumps(fields))


def pre() -> Dense:
    return relu(raw() @ W["encoder.weight"].T + W["encoder.bias"])


def on_raw(path: Path) -> Sae:
    return load(path).without_standardization()


@pytest.mark.parametrize("as_safetensors", [True, False])
def test_topk_is_read_from_either_file(tmp_path: Path, as_safetensors: bool) -> None:
    save(tmp_path, "topk", as_safetensors=as_safetensors)
    assert source_of(tmp_path).config.layer == 11
    assert_equal(on_raw(tmp_path), topk(pre()), topk(pre()) @ W["decoder.weight"])


def test_batchtopk_keeps_what_is_at_its_threshold(tmp_path: Path) -> None:
    folder = save(tmp_path, "batchtopk")
    limit = float(np.float32(np.sort(on_raw(folder).encode(X).values.numpy(), axis=None)[-100]))
    write(folder, activation="BatchTopK", threshold=limit)
    sae = on_raw(tmp_path)
    codes = sae.encode(X)
    assert (codes.values == limit).any()
    assert (codes.values[codes.values > 0] >= limit).all()
    expected = np.where(pre() >= limit - 1e-6, pre(), 0)
    assert_equal(sae, expected, expected @ W["decoder.weight"])


def test_the_threshold_may_be_among_the_tensors(tmp_path: Path) -> None:
    save(tmp_path, "batchtopk", _running_threshold=torch.tensor(1.5))
    expected = np.where(pre() >= 1.5, pre(), 0)
    assert_equal(on_raw(tmp_path), expected, expected @ W["decoder.weight"])
    assert source_of(tmp_path).remarks == ()


@pytest.mark.parametrize("name", ["jump_thresholds", "thresholds"])
def test_jumprelu_has_a_threshold_of_each_feature(tmp_path: Path, name: str) -> None:
    state = {"jump_thresholds": LIMITS} if name == "jump_thresholds" else {"thresholds": LIMITS}
    save(tmp_path, "jumprelu", False, **state)
    expected = np.where(pre() > LIMITS.double().numpy(), pre(), 0)
    assert_equal(on_raw(tmp_path), expected, expected @ W["decoder.weight"])


@pytest.mark.parametrize(("activation", "limit"), [("batchtopk", 0.0), ("jumprelu", 0.01)])
def test_without_a_threshold_it_is_the_librarys_and_that_is_said(
    tmp_path: Path, activation: str, limit: float
) -> None:
    save(tmp_path, activation)
    expected = np.where(pre() > limit, pre(), 0)
    assert_equal(on_raw(tmp_path), expected, expected @ W["decoder.weight"])
    assert f"holds no threshold: as VISAEBench does, one of {limit:g} is taken" in source_of(tmp_path).remarks


def test_overcompletes_names_and_a_bias_of_the_decoder_are_read(tmp_path: Path) -> None:
    folder = save(tmp_path, "topk")
    names = {
        "encoder.weight": "encoder.final_block.0.weight",
        "encoder.bias": "encoder.final_block.0.bias",
        "decoder.weight": "dictionary._weights",
    }
    renamed = {names[name]: tensor for name, tensor in STATE.items()}
    torch.save({**renamed, "dictionary.multiplier": torch.tensor(0.5)}, folder / "sae.pt")
    assert_equal(on_raw(folder), topk(pre()), topk(pre()) @ W["decoder.weight"] * np.exp(0.5))
    torch.save({**STATE, "decoder.bias": torch.full((D_IN,), 0.25)}, folder / "sae.pt")
    assert_equal(on_raw(folder), topk(pre()), topk(pre()) @ W["decoder.weight"] + 0.25)


def test_the_input_is_centred_and_scaled_by_statistics_of_the_images(tmp_path: Path) -> None:
    save(tmp_path, "topk")
    source = source_of(tmp_path)
    assert source.config.normalization == "center_scale"
    assert "both are measured on the indexed images" in source.notes[0]
    stats = Standardization(torch.ones(D_IN), torch.full((D_IN,), 2.0), 9, eps=0.0)
    sae = load(tmp_path).with_normalization("center_scale", stats)
    codes = topk(relu((raw() - 1) / 2 @ W["encoder.weight"].T + W["encoder.bias"]))
    assert_equal(sae, codes, codes @ W["decoder.weight"] * 2 + 1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"activation": "gated"}, "activation is 'gated'; supported: 'topk', 'batchtopk', 'jumprelu'"),
        ({"k": None}, "k is None"),
        ({"layer": -1}, "layer: Input should be greater than or equal to 0"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, config: dict[str, object], expected: str) -> None:
    folder = save(tmp_path, "topk")
    write(folder, **config)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert str(folder) in str(caught.value)
    assert expected in str(caught.value)
