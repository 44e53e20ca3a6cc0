"""SAEs on the final embedding: Daujotas', DN-CBM's and MSAE's files by formula, and refusals."""

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

MSAE = tensors(
    pre_bias=(D_IN,), encoder=(D_IN, N_FEATURES), latent_bias=(N_FEATURES,), decoder=(N_FEATURES, D_IN)
)
SIZES = f"{N_FEATURES}_{D_IN}"
DATA = "cc3m_ViT-L~14_train_image_2905936_768"


def test_daujotas_subtracts_nothing(tmp_path: Path) -> None:
    state = tensors(
        encoder__weight=(N_FEATURES, D_IN),
        enc_bias=(N_FEATURES,),
        decoder__weight=(D_IN, N_FEATURES),
        dec_bias=(D_IN,),
    )
    torch.save(
        {name: tensor.half() for name, tensor in state.items()}, tmp_path / "sparse_autoencoder_128.pth"
    )
    assert source_of(tmp_path).config.layer == "embed"
    w = wide({name: tensor.half() for name, tensor in state.items()})
    codes = relu(raw() @ w["encoder.weight"].T + w["enc_bias"])
    assert_equal(load(tmp_path), codes, codes @ w["decoder.weight"].T + w["dec_bias"])


@pytest.mark.parametrize("has_axis", [True, False])
@pytest.mark.parametrize("underscore", ["_", ""])
def test_dn_cbm_has_one_bias_before_and_after(tmp_path: Path, has_axis: bool, underscore: str) -> None:
    state = tensors(
        encoder__weight=(N_FEATURES, D_IN), encoder__bias=(N_FEATURES,), decoder__weight=(D_IN, N_FEATURES)
    )
    bias = tensors(1, bias=(D_IN,))["bias"]
    stored = {name.replace(".", f".{underscore}"): tensor for name, tensor in state.items()}
    stored |= {"pre_encoder_bias._bias_reference": bias, "post_decoder_bias._bias_reference": bias}
    if has_axis:
        stored = {name: tensor[None] for name, tensor in stored.items()}
    torch.save({**stored, "tied_bias": bias}, tmp_path / "sparse_autoencoder_final.pt")
    assert source_of(tmp_path).config.layer == "embed"
    w, b = wide(state), bias.double().numpy()
    codes = relu((raw() - b) @ w["encoder.weight"].T + w["encoder.bias"])
    assert_equal(load(tmp_path), codes, codes @ w["decoder.weight"].T + b)


def test_dn_cbm_of_several_components_is_refused(tmp_path: Path) -> None:
    bias = torch.zeros(2, D_IN)
    state = {"pre_encoder_bias._bias_reference": bias, "post_decoder_bias._bias_reference": bias}
    torch.save(state, tmp_path / "sparse_autoencoder_final.pt")
    with pytest.raises(CheckpointError, match=r"final\.pt: .* is for 2 components; expected one"):
        source_of(tmp_path)


def save_msae(folder: Path, name: str, **changes: object) -> Path:
    content: dict[str, object] = {
        "model": {**MSAE, "latents_activation_frequency": torch.zeros(N_FEATURES, dtype=torch.int64)},
        "mean_center": torch.linspace(-1, 1, D_IN),
        "scaling_factor": 2.5,
        "target_norm": None,
    }
    path = folder / f"{SIZES}_{name}_{DATA}.pth"
    torch.save({**content, **changes}, path)
    return path


def msae_pre(x: Dense) -> Dense:
    w = wide(MSAE)
    return (x - w["pre_bias"]) @ w["encoder"] + w["latent_bias"]


def decoded(codes: Dense) -> Dense:
    w = wide(MSAE)
    return codes @ w["decoder"] + w["pre_bias"]


MEAN = np.linspace(-1, 1, D_IN)


@pytest.mark.parametrize(
    ("name", "soft_cap"),
    [
        ("ReLU_003_False_False_0.0", None),
        (f"TopK_{K}_False_False_0.0", None),
        (f"TopKReLU_{K}_False_False_30.0", 30.0),
        (f"TopKReLU_{K}_RW_False_False_2.0", 2.0),
        ("JumpReLU_False_False_0.0", None),
    ],
)
def test_msae_says_its_architecture_in_its_name(tmp_path: Path, name: str, soft_cap: float | None) -> None:
    limits = torch.linspace(-2, 1, N_FEATURES)
    more = {"activation.log_threshold": limits} if name.startswith("Jump") else {}
    save_msae(tmp_path, name, model={**MSAE, **more})
    pre = msae_pre((raw() - MEAN) * 2.5)
    codes = topk(pre) if name.startswith("TopK") else relu(pre)
    if name.startswith("TopKReLU"):
        codes = relu(codes)
    if more:
        codes = np.where(codes > np.exp(limits.double().numpy()), codes, 0)
    if soft_cap is not None:
        codes = soft_cap * np.tanh(codes / soft_cap)
    assert source_of(tmp_path).config.layer == "embed"
    assert_equal(load(tmp_path), codes, decoded(codes) / 2.5 + MEAN)


def test_msae_may_tie_its_decoder_and_norm_each_embedding(tmp_path: Path) -> None:
    tied = {name: tensor for name, tensor in MSAE.items() if name != "decoder"}
    save_msae(tmp_path, "ReLU_003_True_True_0.0", model=tied, mean_center=0.0, scaling_factor=1.0)
    x, w = raw(), wide(MSAE)
    mean, std = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
    codes = relu(msae_pre((x - mean) / (std + 1e-5)))
    assert_equal(load(tmp_path), codes, (codes @ w["encoder"].T + w["pre_bias"]) * std + mean)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "BatchTopKReLU_5_False_False_0.0",
            {},
            "its name says activation 'BatchTopKReLU'; supported: 'ReLU'",
        ),
        ("TopKabs_5_False_False_0.0", {}, "its name says activation 'TopKabs'"),
        ("TopKReLU", {}, "its name does not say its architecture"),
        ("ReLU_003_False_True_0.0", {}, "supported is one number"),
        ("ReLU_003_False_False_0.0", {"scaling_factor": 0.0}, "scaling_factor is 0; expected [6] finite"),
        ("ReLU_003_False_False_0.0", {"mean_center": torch.zeros(3)}, "mean_center has shape [3]"),
        ("ReLU_003_True_False_0.0", {}, "unknown: decoder"),
    ],
)
def test_an_msae_that_is_not_supported_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], expected: str
) -> None:
    path = save_msae(tmp_path, name, **changes)
    with pytest.raises(CheckpointError) as caught:
        source_of(tmp_path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def test_an_msae_whose_name_has_other_sizes_is_refused(tmp_path: Path) -> None:
    path = save_msae(tmp_path, "ReLU_003_False_False_0.0")
    renamed = path.rename(path.with_name(path.name.replace(SIZES, "64_6")))
    with pytest.raises(CheckpointError, match="its name says 64 features of 6 dimensions, but the weights"):
        source_of(renamed)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = {**MSAE, "encoder": MSAE["encoder"].clone().index_fill_(1, torch.tensor([2]), torch.inf)}
    save_msae(tmp_path, "ReLU_003_False_False_0.0", model=model)
    with pytest.raises(CheckpointError, match=f"tensor encoder holds {D_IN} values that are not finite"):
        load(tmp_path)
    assert len(X) == len(raw())
