"""dictionary_learning files: each class by its formula, where the layer is found, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.errors import CheckpointError
from scopeview.importers import read_suite
from scopeview.sae.model_match import TrainedOn
from tests.scopeview.importers.twins import (
    D_IN,
    N_FEATURES,
    Dense,
    K,
    Shape,
    assert_equal,
    load,
    raw,
    relu,
    source_of,
    tensors,
    topk,
    wide,
)

LINEAR: dict[str, Shape] = {"encoder__weight": (N_FEATURES, D_IN), "decoder__weight": (D_IN, N_FEATURES)}
TABLES: dict[str, Shape] = {"W_enc": (D_IN, N_FEATURES), "W_dec": (N_FEATURES, D_IN), "b_dec": (D_IN,)}
OF_FEATURES: Shape = (N_FEATURES,)
SHAPES: dict[str, dict[str, Shape]] = {
    "AutoEncoder": {**LINEAR, "encoder__bias": OF_FEATURES, "bias": (D_IN,)},
    "AutoEncoderNew": {**LINEAR, "encoder__bias": OF_FEATURES, "decoder__bias": (D_IN,)},
    "GatedAutoEncoder": {
        **LINEAR,
        **dict.fromkeys(("gate_bias", "r_mag", "mag_bias"), OF_FEATURES),
        "decoder_bias": (D_IN,),
    },
    "JumpReluAutoEncoder": {**TABLES, "b_enc": OF_FEATURES, "threshold": OF_FEATURES},
    "AutoEncoderTopK": {**LINEAR, "encoder__bias": OF_FEATURES, "b_dec": (D_IN,)},
    "BatchTopKSAE": {**LINEAR, "encoder__bias": OF_FEATURES, "b_dec": (D_IN,)},
    "MatryoshkaBatchTopKSAE": {**TABLES, "b_enc": OF_FEATURES},
}
THRESHOLD = 1.25


def state_of(dict_class: str) -> dict[str, torch.Tensor]:
    state = tensors(**SHAPES[dict_class])
    if "TopK" in dict_class:
        state |= {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(THRESHOLD)}
    if dict_class.startswith("Matryoshka"):
        state["group_sizes"] = torch.tensor([8, 12])
    return state


def save(path: Path, weights_of: str, **trainer: object) -> Path:
    folder = path / "trainer_0"
    (folder / "checkpoints").mkdir(parents=True)
    for file in ("ae.pt", "checkpoints/ae_100.pt"):
        torch.save(state_of(weights_of), folder / file)
    fields = {"dict_class": weights_of, "layer": 3, "lm_name": "openai/clip-vit-base-patch32", **trainer}
    (folder / "config.json").write_text(json.dumps({"trainer": fields, "buffer": {"d_submodule": D_IN}}))
    return folder


def twin(dict_class: str) -> tuple[Dense, Dense]:
    """Codes and reconstruction by the library's formulas."""
    w = wide(state_of(dict_class))
    x = raw()
    enc = w["W_enc"] if "W_enc" in w else w["encoder.weight"].T
    dec = w["W_dec"] if "W_dec" in w else w["decoder.weight"].T
    match dict_class:
        case "AutoEncoder":
            codes, bias = relu((x - w["bias"]) @ enc + w["encoder.bias"]), w["bias"]
        case "AutoEncoderNew":
            codes, bias = relu(x @ enc + w["encoder.bias"]), w["decoder.bias"]
        case "GatedAutoEncoder":
            a, bias = (x - w["decoder_bias"]) @ enc, w["decoder_bias"]
            codes = (a + w["gate_bias"] > 0) * relu(np.exp(w["r_mag"]) * a + w["mag_bias"])
        case "JumpReluAutoEncoder":
            pre, bias = x @ enc + w["b_enc"], w["b_dec"]
            codes = relu(pre * (pre > w["threshold"]))
        case _:
            bias = w["b_dec"]
            codes = relu((x - bias) @ enc + w.get("b_enc", w.get("encoder.bias", np.zeros(1))))
            codes = topk(codes) if dict_class == "AutoEncoderTopK" else codes * (codes > THRESHOLD)
    return codes, codes @ dec + bias


@pytest.mark.parametrize("dict_class", SHAPES)
def test_every_class_is_computed_by_its_formula(tmp_path: Path, dict_class: str) -> None:
    save(tmp_path, dict_class)
    source = source_of(tmp_path)
    assert (source.config.layer, source.config.source) == (3, "trainer_0/ae.pt")
    assert source.trained_on == TrainedOn("openai/clip-vit-base-patch32")
    assert_equal(load(tmp_path), *twin(dict_class))


def test_one_checkpoint_may_be_named(tmp_path: Path) -> None:
    folder = save(tmp_path, "AutoEncoderTopK")
    assert source_of(folder / "checkpoints" / "ae_100.pt").config.source == "ae_100.pt"


@pytest.mark.parametrize(
    ("trainer", "layer"),
    [
        ({"submodule_name": "resid_post_layer_3"}, 3),
        ({"submodule_name": "vision_model.encoder.layers.3"}, 3),
        ({"layer": "embed"}, "embed"),
        ({"layer": None}, 7),
        ({"layer": -1}, 7),
    ],
)
def test_the_layer_is_the_trainers_or_else_the_one_requested(
    tmp_path: Path, trainer: dict[str, object], layer: int | str
) -> None:
    save(tmp_path, "AutoEncoder", **trainer)
    assert read_suite(str(tmp_path), [layer]).layers == [layer]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"dict_class": "CrossCoder"}, "dict_class is 'CrossCoder'; supported: 'AutoEncoder'"),
        ({"submodule_name": "layers.3.mlp"}, "submodule_name is 'layers.3.mlp'; supported is the residual"),
        ({"layer": None}, "cannot tell which layer"),
        ({"dict_class": "JumpReluAutoEncoder"}, "the encoder is missing"),
        ({"dict_class": "AutoEncoderNew"}, "missing: decoder.bias"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, trainer: dict[str, object], expected: str) -> None:
    folder = save(tmp_path, "AutoEncoder", **trainer)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert str(folder) in str(caught.value)
    assert expected in str(caught.value)


def test_code_in_the_file_is_not_run(tmp_path: Path) -> None:
    folder = save(tmp_path, "AutoEncoder")
    torch.save({"bias": Path()}, folder / "ae.pt")
    with pytest.raises(CheckpointError, match=r"nothing in it was executed.*a pickled pathlib"):
        source_of(tmp_path)
