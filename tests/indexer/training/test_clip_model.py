from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from indexer.training.clip_batches import Batches
from indexer.training.clip_config import N_PATCHES
from indexer.training.clip_model import draw_patches, embed_images, embed_texts, new_clip, save_clip
from indexer.world import make_scene
from scopeview.clip import Clip
from tests.indexer.training.clips import tiny


@pytest.fixture(scope="module")
def model() -> CLIPModel:
    return new_clip(tiny())


@pytest.fixture(scope="module")
def folder(model: CLIPModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    save_clip(folder, model)
    return folder


def test_the_folder_is_what_indexing_takes_and_sees_the_same(model: CLIPModel, folder: Path) -> None:
    clip = Clip.load(str(folder))
    assert (clip.info.n_tokens, clip.info.grid, clip.info.image_px, clip.info.width) == (257, 16, 128, 32)
    crops = np.stack([clip.preprocessing.crop(make_scene(0, number).image) for number in range(4)])
    pixels = torch.from_numpy(crops)
    with torch.inference_mode():
        assert torch.allclose(
            clip.forward(pixels, []).embedding, embed_images(model, pixels, None), atol=1e-5
        )


def test_pictures_of_the_world_need_no_resizing(folder: Path) -> None:
    image = make_scene(0, 0).image
    crop = Clip.load(str(folder)).preprocessing.crop(image)
    assert np.array_equal(crop, np.asarray(image).transpose(2, 0, 1))


def test_transformers_takes_the_folder_for_a_whole_clip(model: CLIPModel, folder: Path) -> None:
    loaded: Any = CLIPModel.from_pretrained(folder, output_loading_info=True)
    clip, notes = loaded
    assert not any(notes.values())
    texts = ["a red cat on mint", "stripes"]
    words = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = clip.get_text_features(**words).pooler_output
        assert torch.allclose(theirs, embed_texts(model, words["input_ids"]), atol=1e-5)


def test_keeping_every_patch_changes_nothing_and_keeping_few_does(model: CLIPModel) -> None:
    pixels = Batches(tiny())[0].pixels
    everything = torch.arange(N_PATCHES).expand(len(pixels), -1)
    with torch.inference_mode():
        whole, kept, few = (
            embed_images(model, pixels, patches) for patches in (None, everything, everything[:, :9])
        )
    assert torch.allclose(whole, kept, atol=1e-5)
    assert not torch.allclose(whole, few, atol=1e-2)


def test_patches_are_dropped_by_seed_and_step_and_no_longer_at_the_end() -> None:
    settings = tiny(n_steps=10, full_resolution=0.2)
    first = draw_patches(settings, 5, 0)
    again, other = draw_patches(settings, 5, 0), draw_patches(settings, 5, 1)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.shape == (5, N_PATCHES // 4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(len(set(row)) == len(row) and 0 <= min(row) <= max(row) < N_PATCHES for row in first.tolist())
    assert [draw_patches(settings, 5, step) is None for step in (7, 8, 9)] == [False, True, True]


def test_the_same_seed_gives_the_same_first_weights() -> None:
    one, again, other = (new_clip(tiny(seed=seed)).visual_projection.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
