"""The model that ships: is it what the demo asks for, and does its card say what was measured?"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from indexer.demo.build import MODEL_DIR, demo_model
from indexer.demo.card import write_card
from indexer.world import make_scene
from scopeview.errors import InputError
from scopeview.importers import load_sae, read_suite
from scopeview.model_spec import plan_recipe
from scopeview.sae.metrics import explained_variance
from scopeview.slots import EMBED
from scopeview.vision.clip import Clip

MAX_BYTES = 25_000_000


def test_the_clip_and_its_saes_fit_together_and_are_trained() -> None:
    clip, saes = demo_model()
    recipe = plan_recipe(str(clip), str(saes), tokens=["cls", "137", "any"])
    assert recipe.layers == [1, 3, 5, 7, "embed"]
    assert not recipe.random_weights
    assert set(recipe.normalization.values()) == {"standardize"}
    assert (recipe.info.n_tokens, recipe.info.image_px, recipe.info.grid) == (257, 128, 16)


def test_the_weights_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in MODEL_DIR.rglob("*.safetensors")) <= MAX_BYTES


def test_transformers_takes_the_folder_for_a_whole_clip() -> None:
    folder, _ = demo_model()
    model = CLIPModel.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)("a red cat at night", return_tensors="pt")
    assert model.get_text_features(**words).pooler_output.shape == (1, 128)


def test_the_saes_rebuild_scenes_that_nobody_trained_on() -> None:
    clip_dir, saes_dir = demo_model()
    clip = Clip.load(str(clip_dir))
    crops = [clip.preprocessing.crop(make_scene(77, number).image) for number in range(16)]
    taps = clip.forward(torch.from_numpy(np.stack(crops)), [1, 3, 5, 7])
    for source in read_suite(str(saes_dir), None).sources:
        sae = load_sae(source, "cpu")
        tokens = taps.embedding if source.layer == EMBED else taps.residuals[source.layer].flatten(0, 1)
        _, x, x_hat = sae(tokens)
        assert float(explained_variance(x, x_hat)) >= 0.9, source.layer


def test_the_card_says_what_was_measured(tmp_path: Path) -> None:
    shutil.copytree(MODEL_DIR, tmp_path / "model", ignore=shutil.ignore_patterns("README.md"))
    write_card(tmp_path / "model")
    assert (tmp_path / "model/README.md").read_text() == (MODEL_DIR / "README.md").read_text()


def test_a_card_without_its_figures_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"figures/clip\.json is missing"):
        write_card(tmp_path)
