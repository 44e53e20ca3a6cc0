import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from indexer.demo.export import ship_clip, ship_saes
from indexer.training.clip_config import ClipSettings
from indexer.training.clip_model import new_clip, save_clip
from scopeview.errors import InputError
from scopeview.importers import load_sae, native, read_suite
from scopeview.slots import Layer
from scopeview.vision.clip import Clip
from tests.saes import save_random_native


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """As `train-clip` leaves it, but never trained."""
    folder = tmp_path / "run"
    small = ClipSettings(
        width=16, blocks=2, heads=2, text_width=16, text_blocks=1, text_heads=2, projection=8
    )
    save_clip(folder, new_clip(small))
    (folder / "result.json").write_text('{"command": "scopeview train-clip"}')
    (folder / "checkpoint.pt").write_bytes(b"large")
    return folder


def test_a_shipped_clip_is_half_as_large_and_sees_nearly_the_same(trained: Path, tmp_path: Path) -> None:
    ship_clip(trained, tmp_path / "shipped")
    pixels = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    before, after = (Clip.load(str(folder)).forward(pixels, []) for folder in (trained, tmp_path / "shipped"))
    assert torch.allclose(before.embedding, after.embedding, atol=1e-2)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "shipped", trained)]
    assert sizes[0] < 0.6 * sizes[1]


def test_only_what_loading_asks_for_is_shipped_with_the_command_that_made_it(
    trained: Path, tmp_path: Path
) -> None:
    ship_clip(trained, tmp_path / "shipped")
    names = {path.name for path in (tmp_path / "shipped").iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "result.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert json.loads((tmp_path / "shipped/result.json").read_bytes())["command"] == "scopeview train-clip"


def test_shipped_saes_of_several_runs_are_one_suite(tmp_path: Path) -> None:
    layers: tuple[Layer, ...] = (1, "embed")
    for layer in layers:
        save_random_native(tmp_path / f"run-{layer}", layer=layer, d_in=8, n_features=16, k=2)
    ship_saes([tmp_path / "run-1", tmp_path / "run-embed"], tmp_path / "saes")
    suite = read_suite(str(tmp_path / "saes"), None)
    assert [source.layer for source in suite.sources] == [1, "embed"]
    for source in suite.sources:
        before = load_file(tmp_path / f"run-{source.layer}" / str(source.layer) / native.WEIGHTS_NAME)
        assert torch.allclose(load_sae(source, "cpu").dec, before["dec"], atol=1e-3)


def test_a_layer_trained_twice_is_refused_by_name(tmp_path: Path) -> None:
    for run in ("a", "b"):
        save_random_native(tmp_path / run, layer=1, d_in=8, n_features=16, k=2)
    with pytest.raises(InputError, match="layer 1 is there twice"):
        ship_saes([tmp_path / "a", tmp_path / "b"], tmp_path / "saes")


def test_an_unfinished_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run/model\.safetensors is missing"):
        ship_clip(tmp_path / "run", tmp_path / "shipped")
    with pytest.raises(InputError, match="no finished SAE"):
        ship_saes([tmp_path / "run"], tmp_path / "saes")


def test_numbers_too_large_for_half_precision_are_refused_by_name(trained: Path, tmp_path: Path) -> None:
    weights = load_file(trained / "model.safetensors")
    weights["logit_scale"] = torch.tensor(1e6)
    save_file(weights, trained / "model.safetensors")
    with pytest.raises(InputError, match="logit_scale holds numbers that float16 cannot"):
        ship_clip(trained, tmp_path / "shipped")
