import json

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as arrays
from jaxtyping import Bool
from PIL import Image

from indexer.world import make_scene, mask_of
from indexer.world.canvas import IMAGE_PX, Silhouette
from indexer.world.masks import runs_of, visible_masks


@given(arrays.arrays(bool, (IMAGE_PX, IMAGE_PX)))
def test_a_mask_survives_being_written_as_runs(mask: Bool[np.ndarray, "height width"]) -> None:
    written = json.loads(json.dumps({"mask": runs_of(mask)}))
    assert np.array_equal(mask_of(written), mask)


def test_runs_begin_outside_and_go_along_the_rows() -> None:
    mask = np.zeros((IMAGE_PX, IMAGE_PX), dtype=bool)
    mask[1, 2:6] = mask[2, 0:6] = True
    assert runs_of(mask) == [130, 4, 122, 6, 128 * 128 - 262]
    assert runs_of(np.ones_like(mask)) == [0, 128 * 128]


def test_what_is_in_front_covers_what_is_behind_and_what_sticks_out_is_cut_off() -> None:
    square = Image.new("L", (10, 10), 255)
    back, front = visible_masks([Silhouette(0, 0, square), Silhouette(5, -5, square)])
    assert (int(back.sum()), int(front.sum())) == (100 - 25, 50)
    assert not (back & front).any()


def test_the_truth_of_a_scene_gives_its_masks_back() -> None:
    scene = make_scene(0, 3)
    for thing, mask in zip(scene.truth()["things"], scene.masks, strict=True):
        assert np.array_equal(mask_of(thing), mask)
