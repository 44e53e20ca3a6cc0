from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from indexer.training.clip_model import embed_images, embed_texts, new_clip, save_clip
from indexer.training.clip_windows import FULL_WINDOW, Window
from indexer.world import make_scene
from scopeview.vision.clip import Clip
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
        seen = embed_images(model, pixels, torch.from_numpy(FULL_WINDOW.patches).expand(4, -1))
        assert torch.allclose(clip.forward(pixels, []).embedding, seen.images, atol=1e-5)


def test_images_of_the_world_need_no_resizing(folder: Path) -> None:
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


def test_a_window_is_seen_at_its_own_place(model: CLIPModel) -> None:
    window = Window(3, 5, 7)
    pixels = torch.from_numpy(np.stack([window.pixels(make_scene(0, number)) for number in range(2)]))
    here, elsewhere = (torch.from_numpy(at.patches).expand(2, -1) for at in (window, Window(4, 5, 7)))
    with torch.inference_mode():
        seen, moved = embed_images(model, pixels, here), embed_images(model, pixels, elsewhere)
        embeddings: Any = model.vision_model.embeddings
        whole = embeddings(_normalized(0))[0, 1:][window.patches]
    assert seen.images.shape == (2, 16)
    assert seen.patches.shape == (2, 49, 16)
    assert seen.residual.shape == (2, 49, 32)
    assert not torch.allclose(seen.images, moved.images, atol=1e-3)
    content = embeddings.patch_embedding(pixels[:1].float() / 127.5 - 1).flatten(2).mT[0]
    assert torch.allclose(content + embeddings.position_embedding(here[0] + 1), whole, atol=1e-5)


def test_many_images_are_seen_as_few_are(model: CLIPModel) -> None:
    pixels = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8)
    patches = torch.tensor([0, 1, 16, 17]).expand(40, -1)
    with torch.inference_mode():
        together = embed_images(model, pixels, patches).images
        apart = torch.cat([embed_images(model, pixels[n : n + 1], patches[:1]).images for n in range(40)])
    assert torch.allclose(together, apart, atol=1e-5)


def test_the_same_seed_gives_the_same_first_weights() -> None:
    one, again, other = (new_clip(tiny(seed=seed)).visual_projection.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def _normalized(number: int) -> torch.Tensor:
    image = np.asarray(make_scene(0, number).image).transpose(2, 0, 1)[None]
    return torch.from_numpy(image.copy()).float() / 127.5 - 1
