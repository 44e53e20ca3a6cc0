"""Overcomplete: a state dict with our config; classes, dictionaries, encoders by formula, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

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

LINEAR = tensors(
    encoder__final_block__0__weight=(N_FEATURES, D_IN), encoder__final_block__0__bias=(N_FEATURES,)
)
TABLE = tensors(1, dictionary___weights=(N_FEATURES, D_IN))
POINTS = 9
RELAXED = tensors(
    2, dictionary__C=(POINTS, D_IN), dictionary__W=(N_FEATURES, POINTS), dictionary__Relax=(N_FEATURES, D_IN)
)
MULTIPLIER = {"dictionary.multiplier": torch.tensor(0.5)}
LIMITS = {"thresholds": torch.linspace(-3, 1, N_FEATURES), "bandwidth": torch.tensor(1e-3)}


def save(path: Path, kind: str, state: dict[str, torch.Tensor] | None = None, **config: object) -> Path:
    own = {**LINEAR, **(RELAXED if kind.startswith("RA") else TABLE), **MULTIPLIER}
    if "Jump" in kind:
        own["thresholds"] = LIMITS["thresholds"]
    torch.save(own if state is None else state, path / "sae.pt")
    fields = {"format": "overcomplete", "class": kind, "layer": 3, "k": K, "threshold": 1.25, **config}
    (path / "cfg.json").write_text(json.dumps({n: v for n, v in fields.items() if v is not None}))
    return path


def dictionary(kind: str, delta: float = 1.0) -> Dense:
    if not kind.startswith("RA"):
        rows = wide(TABLE)["dictionary._weights"]
        normal: Dense = np.exp(0.5) * rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-8)
        return normal
    c, w, offset = wide(RELAXED).values()
    mixture = relu(w)
    mixture = mixture / (mixture.sum(axis=1, keepdims=True) + 1e-8)
    offset = offset * np.minimum(delta / np.linalg.norm(offset, axis=1, keepdims=True), 1)
    relaxed: Dense = np.exp(0.5) * (mixture @ c + offset)
    return relaxed


def pre() -> Dense:
    w = wide(LINEAR)
    return relu(raw() @ w["encoder.final_block.0.weight"].T + w["encoder.final_block.0.bias"])


@pytest.mark.parametrize("kind", ["SAE", "TopKSAE", "JumpSAE", "BatchTopKSAE", "RATopKSAE", "RAJumpSAE"])
def test_every_class_is_computed_by_its_formula(tmp_path: Path, kind: str) -> None:
    save(tmp_path, kind)
    codes = pre()
    if kind in ("TopKSAE", "RATopKSAE"):
        codes = topk(codes)
    if "Jump" in kind:
        codes = np.where(codes >= np.exp(LIMITS["thresholds"].double().numpy()), codes, 0)
    if kind == "BatchTopKSAE":
        codes = np.where(codes >= 1.25, codes, 0)
    assert source_of(tmp_path).config.layer == 3
    assert_equal(load(tmp_path), codes, codes @ dictionary(kind))


def test_the_bound_of_a_relaxed_dictionary_is_the_configs(tmp_path: Path) -> None:
    save(tmp_path, "RATopKSAE", delta=0.25)
    assert_equal(load(tmp_path), topk(pre()), topk(pre()) @ dictionary("RATopKSAE", 0.25))


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        ("identity", lambda rows: np.ones_like(rows)),
        ("l1", lambda rows: np.abs(rows).sum(axis=1, keepdims=True)),
        ("max_l1", lambda rows: np.abs(rows).sum(axis=1).max()),
        ("max_l2", lambda rows: np.linalg.norm(rows, axis=1).max()),
    ],
)
def test_dictionaries_are_normalised_as_they_were_made(tmp_path: Path, kind: str, lengths: object) -> None:
    assert callable(lengths)
    save(tmp_path, "SAE", dictionary_normalization=kind)
    rows = wide(TABLE)["dictionary._weights"]
    assert_equal(load(tmp_path), pre(), pre() @ (np.exp(0.5) * rows / lengths(rows)))


def test_a_batch_norm_of_the_encoder_is_folded(tmp_path: Path) -> None:
    parts = {f"encoder__final_block__1__{name}": (N_FEATURES,) for name in ("weight", "bias", "running_mean")}
    norm = tensors(3, **parts)
    variance = torch.linspace(0.5, 2, N_FEATURES)
    name = "encoder.final_block.1."
    counted = {f"{name}running_var": variance, f"{name}num_batches_tracked": torch.tensor(7)}
    save(tmp_path, "SAE", {**LINEAR, **TABLE, **MULTIPLIER, **norm, **counted})
    w = wide({**LINEAR, **norm})
    linear = raw() @ w["encoder.final_block.0.weight"].T + w["encoder.final_block.0.bias"]
    normal = (linear - w[f"{name}running_mean"]) / np.sqrt(variance.double().numpy() + 1e-5)
    codes = relu(normal * w[f"{name}weight"] + w[f"{name}bias"])
    assert_equal(load(tmp_path), codes, codes @ dictionary("SAE"))


def test_an_encoder_may_be_the_dictionary(tmp_path: Path) -> None:
    save(tmp_path, "TopKSAE", {**TABLE, **MULTIPLIER})
    codes = relu(topk(raw() @ dictionary("TopKSAE").T))
    assert_equal(load(tmp_path), codes, codes @ dictionary("TopKSAE"))
    own = tensors(4, encoder__weight=(N_FEATURES, D_IN))
    save(tmp_path, "TopKSAE", {**TABLE, **MULTIPLIER, **own})
    codes = relu(topk(raw() @ wide(own)["encoder.weight"].T))
    assert_equal(load(tmp_path), codes, codes @ dictionary("TopKSAE"))


@pytest.mark.parametrize(
    ("kind", "more", "config", "expected"),
    [
        ("MpSAE", {}, {}, "class: Input should be 'SAE', 'TopKSAE'"),
        ("QSAE", {}, {}, "found 'QSAE'"),
        ("TopKSAE", {}, {"k": None}, "k is None"),
        ("TopKSAE", {}, {"layer": None}, "layer is missing"),
        (
            "BatchTopKSAE",
            {},
            {"threshold": None},
            "has no threshold; expected the BatchTopKSAE's runn",
        ),
        (
            "SAE",
            {"encoder.mlp_blocks.0.0.weight": torch.zeros(2)},
            {},
            "supported are encoders of one",
        ),
        ("SAE", {"encoder.final_block.1.weight": torch.zeros(2)}, {}, "its encoder ends in a LayerNorm"),
        ("SAE", {"extra": torch.zeros(2)}, {}, "unknown: extra"),
    ],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, kind: str, more: dict[str, torch.Tensor], config: dict[str, object], expected: str
) -> None:
    save(tmp_path, kind, {**LINEAR, **TABLE, **MULTIPLIER, **more}, **config)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert expected in str(caught.value)
