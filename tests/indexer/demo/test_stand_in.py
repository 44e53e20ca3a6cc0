import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from indexer import demo_saes
from indexer.demo import build as demo
from indexer.demo.build import DemoModel, write_demo_model
from indexer.demo_clip import write_clip
from scopeview.clip import Clip
from scopeview.importers import load_sae, read_suite
from scopeview.recipe import plan_recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DemoModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_saes, "N_SCENES", 32)
        return write_demo_model(tmp_path_factory.mktemp("demo"), seed=0)


def test_the_model_and_its_saes_fit_together_and_say_that_they_are_random(model: DemoModel) -> None:
    recipe = plan_recipe(str(model.clip), str(model.saes), tokens=["cls", "137", "any"])
    assert recipe.layers == [1, 3, 5, "embed"]
    assert recipe.random_weights
    assert set(recipe.normalization.values()) == {"standardize"}
    assert (recipe.info.n_tokens, recipe.info.image_px, recipe.info.grid) == (257, 128, 16)


def test_transformers_takes_the_folder_for_a_whole_clip(model: DemoModel) -> None:
    loaded: Any = CLIPModel.from_pretrained(model.clip, output_loading_info=True)
    clip, notes = loaded
    assert not any(notes.values())
    tokenizer = AutoTokenizer.from_pretrained(model.clip)
    words = tokenizer("a red cat and an unheardof thing", return_tensors="pt")
    assert words["input_ids"][0, 0] == tokenizer.bos_token_id
    assert clip.get_text_features(**words).pooler_output.shape == (1, 64)


def test_different_scenes_light_different_features(model: DemoModel) -> None:
    clip = Clip.load(str(model.clip))
    pixels = next(demo_saes._batches(clip, seed=5))
    taps = clip.forward(pixels, [5])
    (source,) = read_suite(str(model.saes), [5]).sources
    codes = load_sae(source, "cpu").encode(taps.residuals[5][:, 0])
    assert (codes.values > 0).all()
    assert len(set(codes.features.flatten().tolist())) > 100


def test_the_same_seed_gives_the_same_weights(model: DemoModel, tmp_path: Path) -> None:
    write_clip(tmp_path / "again", seed=0)
    write_clip(tmp_path / "other", seed=1)
    first, again, other = (
        CLIPModel.from_pretrained(folder).visual_projection.weight
        for folder in (model.clip, tmp_path / "again", tmp_path / "other")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_is_there_whole_is_not_made_again_and_what_broke_off_is(tmp_path: Path) -> None:
    target = tmp_path / "made"
    (tmp_path / "made.tmp").mkdir()
    (tmp_path / "made.tmp" / "rest of a broken run").touch()
    for content in ("first", "second"):
        demo._once(target, lambda folder, content=content: (folder / "file").write_text(content))  # type: ignore[misc]
    assert [path.name for path in target.iterdir()] == ["file"]
    assert (target / "file").read_text() == "first"


def test_the_saes_say_how_they_came_about(model: DemoModel) -> None:
    config = json.loads((model.saes / "embed" / "cfg.json").read_text())
    assert config["layer"] == "embed"
    assert config["training"].startswith("none")
