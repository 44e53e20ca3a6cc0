"""Scopeview's own format: a round trip, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from scopeview.errors import CheckpointError
from scopeview.importers import Stated, load_sae, native, read_suite
from scopeview.sae.autoencoder import Sae, SaeConfig, Weights
from scopeview.sae.model_match import TrainedOn
from scopeview.sae.normalization import Standardization
from tests.saes import random_tensors, save_random_native


def save(suite: Path, **options: object) -> Path:
    sizes = {"layer": 5, "d_in": 4, "n_features": 12, "k": 3, **options}
    return save_random_native(suite, **sizes)  # type: ignore[arg-type]


def load(suite: Path) -> Sae:
    return load_sae(read_suite(str(suite)).sources[0])


def edit(folder: Path, **fields: object) -> None:
    path = folder / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path)
    sae = load(tmp_path)
    assert (sae.config.architecture, sae.config.k, sae.config.source) == ("topk", 3, "5/sae.safetensors")
    assert torch.equal(sae.enc, random_tensors(4, 12, seed=0)["enc"])
    assert sae.standardization is None


def test_statistics_travel_in_the_file(tmp_path: Path) -> None:
    save(tmp_path, standardization=Standardization(torch.arange(4.0), torch.ones(4), n_tokens=257))
    sae = load(tmp_path)
    assert sae.config.normalization == "standardize"
    assert sae.standardization is not None
    assert sae.standardization.n_tokens == 257
    assert sae.normalize(torch.arange(4.0)[None]).tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_the_embedding_and_relu_are_supported(tmp_path: Path) -> None:
    save(tmp_path, layer="embed", k=None)
    sae = load(tmp_path)
    assert (sae.config.layer, sae.config.architecture, sae.config.k) == ("embed", "relu", None)


def test_a_layers_own_folder_is_a_suite(tmp_path: Path) -> None:
    assert read_suite(str(save(tmp_path))).layers == [5]


def test_the_model_it_was_trained_on_is_read(tmp_path: Path) -> None:
    folder = save(tmp_path)
    assert read_suite(str(tmp_path)).sources[0].trained_on is None
    edit(folder, model={"ref": "data/a-model/clip", "revision": None, "sha256": "ab"})
    assert read_suite(str(tmp_path)).sources[0].trained_on == TrainedOn("clip", None, "ab")
    edit(folder, model={"ref": "openai/clip", "revision": "12", "sha256": "ab"})
    assert read_suite(str(tmp_path)).sources[0].trained_on == TrainedOn("openai/clip", "12", "ab")


def test_an_sae_that_version_1_can_hold_is_still_written_as_version_1(tmp_path: Path) -> None:
    config = json.loads((save(tmp_path) / "cfg.json").read_text())
    assert config["version"] == 1
    assert not config.keys() & {"soft_cap", "input_eps"}


@pytest.mark.parametrize(
    "form",
    [
        {"architecture": "jumprelu", "k": None},
        {"architecture": "abstopk"},
        {"architecture": "groupmax", "relu_after_topk": True},
        {"soft_cap": 30.0},
        {"normalization": "layer_norm"},
        {"normalization": "constant_norm"},
        {"normalization": "center_scale"},
    ],
)
def test_every_form_is_saved_and_loaded_unchanged(tmp_path: Path, form: dict[str, object]) -> None:
    config = SaeConfig("topk", 5, 4, 12, 3, "none", source="", sha256="")
    config = replace(config, **form)  # type: ignore[arg-type]
    threshold = torch.linspace(-0.5, 0.5, 12) if config.architecture == "jumprelu" else None
    weights = Weights(**random_tensors(4, 12, seed=3), threshold=threshold)
    stats = Standardization(torch.arange(4.0), torch.full((4,), 0.25), n_tokens=0, eps=0.0)
    saved = Sae(config, weights, stats if config.normalization == "center_scale" else None)
    assert json.loads((native.save(saved, tmp_path / "5") / "cfg.json").read_text())["version"] == 2
    loaded = load(tmp_path)
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    for before, after in zip(saved.encode(x), loaded.encode(x), strict=True):
        assert torch.equal(before, after)
    assert replace(loaded.config, source="", sha256="") == config


def test_a_k_that_the_config_lacks_may_be_stated(tmp_path: Path) -> None:
    edit(save(tmp_path), k=None)
    assert read_suite(str(tmp_path), stated=Stated(k=3)).sources[0].config.k == 3


def test_provenance_is_kept_for_people(tmp_path: Path) -> None:
    assert json.loads((save(tmp_path) / "cfg.json").read_text())["trained_on"] == "nothing: random weights"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"version": 3}, "version: Input should be 1 or 2, found 3"),
        ({"architecture": "gated"}, "'jumprelu', 'abstopk' or 'groupmax', found 'gated'"),
        ({"architecture": "abstopk"}, "version 1 has no architecture 'abstopk'; expected version 2"),
        ({"version": 2, "architecture": "jumprelu"}, "missing: threshold"),
        ({"version": 2, "architecture": "groupmax", "k": 5}, "12 features do not make k = 5 groups"),
        ({"version": 2, "soft_cap": 0.0}, "soft_cap: Input should be greater than 0"),
        ({"normalization": "layer"}, "normalization"),
        ({"layer": -1}, "layer"),
        ({"d_in": "4"}, "d_in: Input should be a valid integer, found '4'"),
        ({"k": None}, "k is None; expected a whole number from 1 to 12"),
        ({"k": 13}, "k is 13"),
        ({"k": 3.5}, "k: Input should be a valid integer"),
        ({"n_features": 13}, "tensor enc has shape [4, 12]; expected [4, 13]"),
        ({"normalization": "standardize"}, "missing: input_mean, input_std"),
    ],
)
def test_a_config_that_is_wrong_is_refused(tmp_path: Path, fields: dict[str, object], expected: str) -> None:
    edit(save(tmp_path), **fields)
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(tmp_path / "5") in str(caught.value)
    assert expected in str(caught.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    path = save(tmp_path) / "cfg.json"
    path.write_text(json.dumps({"format": "scopeview-sae", "version": 1}))
    with pytest.raises(CheckpointError, match="d_in is missing"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_config_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = save(tmp_path) / "cfg.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"cfg\.json"):
        load(tmp_path)


def test_missing_or_truncated_weights_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path) / "sae.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"sae\.safetensors is not a complete safetensors file"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"has no sae\.safetensors beside it"):
        load(tmp_path)


def test_a_config_with_a_byte_order_mark_and_a_k_as_float_is_read(tmp_path: Path) -> None:
    folder = save(tmp_path)
    edit(folder, k=3.0)
    text = (folder / "cfg.json").read_text()
    (folder / "cfg.json").write_text(text, encoding="utf-8-sig")
    assert load(tmp_path).config.k == 3


def test_prefixes_and_double_precision_are_read(tmp_path: Path) -> None:
    path = save(tmp_path) / "sae.safetensors"
    save_file({f"_orig_mod.{name}": tensor.double() for name, tensor in load_file(path).items()}, path)
    assert torch.equal(load(tmp_path).enc, random_tensors(4, 12, seed=0)["enc"])


@pytest.mark.parametrize("name", ["sae.safetensors", "cfg.json"])
def test_a_file_of_an_sae_stands_for_it(tmp_path: Path, name: str) -> None:
    save(tmp_path, layer=4)
    assert read_suite(str(save(tmp_path) / name)).layers == [5]


@pytest.mark.parametrize(
    ("name", "value"),
    [("enc", float("nan")), ("input_std", -1.0), ("input_std", 0.0), ("input_std", float("nan"))],
)
def test_impossible_numbers_are_refused(tmp_path: Path, name: str, value: float) -> None:
    folder = save(tmp_path, standardization=Standardization(torch.zeros(4), torch.ones(4), n_tokens=1))
    path = folder / "sae.safetensors"
    tensors = load_file(path)
    tensors[name].flatten()[0] = value
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=rf"sae\.safetensors.*{name}"):
        load(tmp_path)
