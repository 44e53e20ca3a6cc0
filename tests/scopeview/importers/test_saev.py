"""saev files: every schema, the bias that version 1 subtracts, and refusals."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.errors import CheckpointError
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

STATE = tensors(W_enc=(D_IN, N_FEATURES), b_enc=(N_FEATURES,), W_dec=(N_FEATURES, D_IN), b_dec=(D_IN,))
W = wide(STATE)
Header = dict[str, object]
OLD: Header = {"d_vit": D_IN, "exp_factor": 16, "n_reinit_samples": 9, "seed": 0}
NEW: Header = {"d_model": D_IN, "d_sae": N_FEATURES, "normalize_w_dec": True}


def activation(name: str) -> Header:
    params: Header = {} if name == "Relu" else {"top_k": K}
    return {"activation": {"cls": name, "params": {"key": name.lower(), **params}}}


def save(path: Path, header: Header, **more: torch.Tensor) -> Path:
    weights = io.BytesIO()
    torch.save({**STATE, **{f"activation.{name}": tensor for name, tensor in more.items()}}, weights)
    file = path / "layer_3" / "a1b2c3d4" / "sae.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(json.dumps(header).encode() + b"\n" + weights.getvalue())
    return file


def schema(number: int, cfg: Header) -> Header:
    return {"schema": number, "cfg": cfg, "commit": "3d73f1f", "lib": "0.1.0"}


def check(path: Path, codes: Dense, subtract: bool) -> None:
    source = source_of(path)
    sae = load(path)
    assert source.config.layer == 3
    assert sae.config.subtract_pre_b == subtract
    if subtract:
        assert source.config.normalization == "center_scale"
        assert "lacks both mean and scalar" in source.notes[0]
        sae = sae.without_standardization()
    assert_equal(sae, codes, codes @ W["W_dec"] + W["b_dec"])


OLD_PRE = (raw() - W["b_dec"]) @ W["W_enc"] + W["b_enc"]
PRE = raw() @ W["W_enc"] + W["b_enc"]


def test_without_a_schema_it_is_relu_and_subtracts_the_bias(tmp_path: Path) -> None:
    save(tmp_path, {**OLD, "sparsity_coeff": 4e-4, "ghost_grads": False, "l1_coeff": 1, "use_ghost_grads": 0})
    check(tmp_path, relu(OLD_PRE), subtract=True)


@pytest.mark.parametrize(("name", "keep"), [("Relu", relu), ("TopK", topk), ("BatchTopK", topk)])
def test_schema_1_has_the_activation_in_either_of_two_places(tmp_path: Path, name: str, keep: object) -> None:
    assert callable(keep)
    for header in (
        {**schema(1, {**OLD, "top_k": K}), "cls": name},
        {**schema(1, {**OLD, **activation(name)}), "cls": "SparseAutoencoderConfig"},
    ):
        save(tmp_path, header)
        check(tmp_path, keep(OLD_PRE), subtract=True)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
@pytest.mark.parametrize(("name", "keep"), [("Relu", relu), ("TopK", topk)])
def test_later_schemas_subtract_nothing(tmp_path: Path, number: int, name: str, keep: object) -> None:
    assert callable(keep)
    sizes = OLD if number == 2 else NEW
    save(tmp_path, schema(number, {**sizes, **activation(name)}))
    assert source_of(tmp_path).config.normalization == "none"
    check(tmp_path, keep(PRE), subtract=False)


@pytest.mark.parametrize("threshold", [1.25, -1.0])
def test_batchtopk_fires_above_its_threshold_and_above_zero(tmp_path: Path, threshold: float) -> None:
    save(tmp_path, schema(5, {**NEW, **activation("BatchTopK")}), threshold=torch.tensor(threshold))
    check(tmp_path, np.where(max(threshold, 0) < PRE, PRE, 0), subtract=False)


def test_a_kept_value_of_topk_may_be_negative(tmp_path: Path) -> None:
    save(tmp_path, schema(5, {**NEW, "activation": {"cls": "TopK", "params": {"top_k": N_FEATURES}}}))
    check(tmp_path, PRE, subtract=False)


def test_a_batchtopk_without_its_threshold_says_so(tmp_path: Path) -> None:
    save(tmp_path, schema(4, {**NEW, **activation("BatchTopK")}))
    assert "stored no threshold" in source_of(tmp_path).remarks[0]


def test_version_1_takes_a_mean_and_one_scale_from_the_images(tmp_path: Path) -> None:
    save(tmp_path, OLD)
    sae = load(tmp_path)
    with pytest.raises(CheckpointError, match="holds no mean and std"):
        sae.encode(X)
    stats = Standardization(X.mean(dim=0), X.std(dim=0), len(X)).fitted_to("center_scale")
    sae = sae.with_normalization("center_scale", stats)
    scalar = np.sqrt((raw().std(axis=0, ddof=1) ** 2).mean())
    normal = (raw() - raw().mean(axis=0)) / (scalar + 1e-6)
    codes = relu((normal - W["b_dec"]) @ W["W_enc"] + W["b_enc"])
    assert_equal(sae, codes, (codes @ W["W_dec"] + W["b_dec"]) * scalar + raw().mean(axis=0))


def test_a_file_outside_such_a_folder_needs_its_layer(tmp_path: Path) -> None:
    file = save(tmp_path, OLD).rename(tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match=r"cannot tell which layer .*sae\.pt is for; expected --layers"):
        source_of(file)
    assert source_of(file, [10]).config.layer == 10


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (schema(6, NEW), "schema is 6; supported: none, 1, 2, 3, 4, 5"),
        (schema(5, {**NEW, **activation("MatchingPursuit")}), "activation is 'MatchingPursuit'; supported"),
        (schema(5, {**NEW, "d_model": 7}), "d_model says 7 but the weights have 6"),
        ({"schema": 5}, "its first line has no cfg"),
        (schema(5, {**NEW, "activation": {"cls": "TopK", "params": {}}}), "k is None"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, header: Header, expected: str) -> None:
    file = save(tmp_path, header)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert str(file) in str(caught.value)
    assert expected in str(caught.value)


def test_code_after_the_line_of_json_is_not_run(tmp_path: Path) -> None:
    file = save(tmp_path, schema(5, NEW))
    code = io.BytesIO()
    torch.save({"W_enc": Path()}, code)
    file.write_bytes(json.dumps(schema(5, NEW)).encode() + b"\n" + code.getvalue())
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        source_of(tmp_path)
