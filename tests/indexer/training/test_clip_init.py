from typing import Any

import torch

from indexer.training.clip_init import _steps
from indexer.training.clip_model import new_clip
from tests.indexer.training.clips import tiny

MIDDLE = 7 * 16 + 7


def test_each_head_of_a_new_tower_looks_at_one_neighbor_of_its_patch() -> None:
    model: Any = new_clip(tiny(width=96, heads=6, blocks=4))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        found = model.vision_model(torch.zeros(1, 3, 128, 128), output_attentions=True).attentions
    for block, attention in enumerate(found):
        # Without the class token, which has no place.
        looked_at = attention[0, :, 1 + MIDDLE, 1:].argmax(dim=1).tolist()
        expected = [MIDDLE + right + 16 * down for right, down in _steps(block)]
        assert looked_at == expected


def test_steps_of_all_blocks_go_all_around() -> None:
    steps = {step for block in range(8) for step in _steps(block)}
    around = {(right, down) for right in (-1, 0, 1) for down in (-1, 0, 1)}
    assert around < steps
    assert len(steps) == 13


def test_places_are_of_the_size_of_what_patches_show() -> None:
    embeddings: Any = new_clip(tiny(width=96, heads=6)).vision_model.embeddings
    places = embeddings.position_embedding.weight[1:].detach()
    patches = embeddings.patch_embedding(torch.randn(1, 3, 128, 128)).flatten(2).mT[0].detach()
    ratio = (places.square().mean() / patches.square().mean()).sqrt().item()
    assert 0.2 < ratio < 2


def test_the_smallest_towers_start_too() -> None:
    for width, heads in ((4, 1), (16, 4), (32, 1)):
        weights = new_clip(tiny(width=width, heads=heads)).state_dict().values()
        assert all(bool(tensor.isfinite().all()) for tensor in weights)
