import numpy as np
import pytest

from indexer.evaluation.scenes import _centred, _touched, scene_truth
from indexer.world import make_scene
from indexer.world.scene_objects import MAX_THINGS
from scopeview.vision.patches import box_of


@pytest.mark.parametrize("grid", [16, 4])
def test_a_thing_is_seen_in_the_patches_that_its_mask_reaches(grid: int) -> None:
    scene = make_scene(3, 5, n_things=3)
    truth, side = scene_truth(scene, grid), 128 // grid
    for number, mask in enumerate(scene.masks):
        for patch in range(grid * grid):
            left, top, right, bottom = box_of(patch + 1, grid, side)
            assert truth.touched[0, number, patch] == mask[top:bottom, left:right].any()
            assert truth.centred[0, number, patch] == mask[top + side // 2, left + side // 2]


def test_there_is_no_thing_beyond_the_last() -> None:
    truth = scene_truth(make_scene(3, 5, n_things=1), 16)
    assert (truth.kinds[0, 1:] == -1).all()
    assert not truth.touched[0, 1:].any()
    assert truth.n_things.tolist() == [1]
    assert truth.kinds.shape[1] == MAX_THINGS


def test_patches_that_do_not_divide_the_image_lie_where_they_should() -> None:
    mask = np.zeros((128, 128), dtype=bool)
    mask[64, 127] = True
    assert np.flatnonzero(_touched(mask, 3)).tolist() == [5]
    assert not _centred(mask, 3).any()
