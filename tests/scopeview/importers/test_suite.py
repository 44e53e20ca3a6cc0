"""Suites: which SAE is chosen for which layer, and what is said when there is none."""

from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scopeview.errors import CheckpointError
from scopeview.importers import check_fits, read_suite
from scopeview.importers.source import folder_patterns
from tests.saes import save_random_clipscope, save_random_native, save_random_saelens


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Layers 2 and 11 (CLIP-Scope), 5 and embed (native) and 20 (SAELens)."""
    monkeypatch.setenv("SCOPEVIEW_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "suite"
    save_random_clipscope(folder, layer=11, d_in=8, n_features=48, k=4)
    save_random_clipscope(folder, layer=2, d_in=8, n_features=48, k=4)
    save_random_native(folder, layer="embed", d_in=4, n_features=12, k=None)
    save_random_native(folder, layer=5, d_in=8, n_features=12, k=3)
    save_random_saelens(folder, layer=20, d_in=8, n_features=16)
    return folder


def test_without_layers_all_are_read_in_the_models_order(suite: Path) -> None:
    assert read_suite(str(suite)).layers == [2, 5, 11, 20, "embed"]


def test_layers_come_in_the_order_asked_for(suite: Path) -> None:
    read = read_suite(str(suite), [20, "embed", 2])
    assert read.layers == [20, "embed", 2]
    assert (read.ref, read.repo_id, read.revision) == (str(suite), None, None)


def test_a_layer_that_the_suite_lacks_is_refused_with_those_it_has(suite: Path) -> None:
    with pytest.raises(CheckpointError, match="no SAE for layer 7; it has layers 2, 5, 11, 20, embed"):
        read_suite(str(suite), [2, 7])


def test_only_the_layers_asked_for_are_checked(suite: Path) -> None:
    (suite / "11_resid" / "1200013184.pt").write_bytes(b"")
    assert read_suite(str(suite), [2]).layers == [2]
    with pytest.raises(CheckpointError, match="11_resid"):
        read_suite(str(suite), [11])


def test_two_files_for_one_layer_are_ambiguous_until_one_is_named(suite: Path) -> None:
    first = suite / "11_resid" / "1200013184.pt"
    second = first.with_name("600013184.pt")
    second.write_bytes(first.read_bytes())
    with pytest.raises(
        CheckpointError, match=r"several SAEs for layer 11: .*1200013184\.pt, .*600013184\.pt"
    ):
        read_suite(str(suite))
    assert read_suite(str(second)).sources[0].config.source == "11_resid/600013184.pt"


def test_the_advice_for_several_saes_of_a_layer_works_for_checkpoint_folders(tmp_path: Path) -> None:
    for step in ("checkpoint_1000", "final_2000"):
        save_random_saelens(tmp_path / step, layer=11, d_in=8, n_features=16)
    with pytest.raises(CheckpointError, match="several SAEs for layer 11") as caught:
        read_suite(str(tmp_path))
    last = str(caught.value).partition("11: ")[2].partition(";")[0].split(", ")[1]
    assert "final_2000" in last
    assert read_suite(last).layers == [11]


@pytest.mark.parametrize(
    "folder",
    [
        "11",
        "layer_11",
        "blocks.11.hook_resid_post",
        "vision_model.encoder.layers.11",
        "layer_11_step_9",
    ],
)
def test_on_a_hub_a_layers_folder_is_known_by_its_number(folder: str) -> None:
    wanted = folder_patterns([11], ["cfg.json"])
    other = folder.replace("11", "111")
    assert any(fnmatch(f"{folder}/cfg.json", pattern) for pattern in wanted)
    assert any(fnmatch(f"saes/{folder}/cfg.json", pattern) for pattern in wanted) or folder == "11"
    assert not any(fnmatch(f"{other}/cfg.json", pattern) for pattern in wanted)


def test_a_folder_of_another_format_is_named(tmp_path: Path) -> None:
    weights = {name: torch.zeros(2) for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
    torch.save(weights, tmp_path / "n_images_2600058.pt")
    with pytest.raises(CheckpointError, match=r"n_images_2600058\.pt is a PyTorch file with weights of an"):
        read_suite(str(tmp_path))


def test_a_safetensors_file_of_a_model_is_named(tmp_path: Path) -> None:
    save_file({"vision_model.post_layernorm.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"with weights of a CLIP, not of an SAE; expected sae\.safet"):
        read_suite(str(tmp_path / "model.safetensors"))


def test_a_folder_without_saes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no SAE found in .*; expected 22_resid/1200013184\.pt"):
        read_suite(str(tmp_path))


def test_an_sae_of_another_width_does_not_fit(suite: Path) -> None:
    [source] = read_suite(str(suite), [5]).sources
    check_fits(source.config, 8)
    with pytest.raises(CheckpointError, match="takes 8 dimensions, but layer 5 of the model has 1024"):
        check_fits(source.config, 1024)
