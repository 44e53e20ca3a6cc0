import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from indexer.world import Scene, make_scene, make_twins
from indexer.world.backgrounds import background_kinds
from indexer.world.canvas import IMAGE_PX
from indexer.world.kinds import check_kinds, kinds
from indexer.world.palette import COLOURS, TINTS
from indexer.world.sampling import RandomStream
from indexer.world.scene import most_twins
from indexer.world.scene_objects import Difference
from scopeview.errors import InputError


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(0, number) for number in range(400)]


def test_a_scene_is_the_same_on_every_machine(scenes: list[Scene]) -> None:
    """Pixels depend on Pillow alone (polygons, `reduce`, `BoxBlur`), whose version is pinned."""
    digest = hashlib.sha256()
    for scene in scenes[:60]:
        digest.update(scene.image.tobytes())
        digest.update(repr((scene.caption, scene.truth())).encode())
    assert digest.hexdigest() == "84bc2cecc9db6115edfd39f3444ba97a5b31a7e1b47d37a560bf02a7e2c979c4"


def test_a_scene_depends_on_its_seed_and_its_number_alone(scenes: list[Scene]) -> None:
    assert make_scene(0, 7).image.tobytes() == scenes[7].image.tobytes()
    images = [make_scene(seed, number).image.tobytes() for seed in range(8) for number in range(16)]
    assert len(set(images)) == len(images)


def test_every_kind_colour_and_background_comes_up(scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(kinds())
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {scene.background for scene in scenes} == set(background_kinds())
    assert {scene.tint for scene in scenes} == {*TINTS, None}
    assert set(Counter(len(scene.things) for scene in scenes)) == {1, 2, 3, 4}
    assert (len(kinds()), len(COLOURS), len(background_kinds())) == (26, 12, 10)


def test_images_are_rgb_of_128_pixels(scenes: list[Scene]) -> None:
    assert {(scene.image.mode, scene.image.size) for scene in scenes} == {("RGB", (IMAGE_PX, IMAGE_PX))}


def test_the_colour_of_a_thing_is_seen_in_its_mask(scenes: list[Scene]) -> None:
    for scene in scenes:
        pixels = np.asarray(scene.image).astype(int)
        for thing, mask in zip(scene.things, scene.masks, strict=True):
            distance = np.abs(pixels[mask] - np.array(COLOURS[thing.colour])).max(axis=1)
            assert (distance < 18).mean() > 0.1, (scene.caption, thing)


def test_masks_lie_in_their_boxes_and_nowhere_twice(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert np.sum(scene.masks, axis=0).max() == 1
        for thing, mask in zip(scene.things, scene.masks, strict=True):
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= IMAGE_PX
            assert 0 <= top < bottom <= IMAGE_PX
            assert mask[top:bottom, left:right].sum() == mask.sum() > 60


def test_some_things_overlap_and_none_is_hidden(scenes: list[Scene]) -> None:
    shares = [
        mask.sum() / (np.asarray(silhouette.coverage) >= 128).sum()
        for scene in scenes
        for mask, silhouette in zip(scene.masks, scene.silhouettes, strict=True)
    ]
    assert min(shares) > 0.5
    assert 0.03 < np.mean(np.array(shares) < 0.98) < 0.3


def test_the_largest_thing_is_that_of_which_most_is_seen(scenes: list[Scene]) -> None:
    scene = next(scene for scene in scenes if len(scene.things) == 3)
    areas = {thing: mask.sum() for thing, mask in zip(scene.things, scene.masks, strict=True)}
    assert areas[scene.largest] == max(areas.values())


def test_captions_name_everything_and_are_worded_in_many_ways(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.things:
            assert f"{thing.colour} {thing.kind}"[:-1] in scene.caption
    assert len({scene.caption for scene in scenes}) > 380


def test_scenes_can_be_asked_for_by_kind_and_by_number_of_things() -> None:
    chosen = check_kinds(["boat", "heart"])
    scenes = [make_scene(4, number, kinds=chosen, n_things=2) for number in range(40)]
    assert {thing.kind for scene in scenes for thing in scene.things} == {"heart", "boat"}
    assert {len(scene.things) for scene in scenes} == {2}


@pytest.mark.parametrize("difference", ["kind", "colour"])
def test_twins_differ_in_one_thing_alone(difference: Difference) -> None:
    for number in range(12):
        twins = make_twins(0, number, most_twins(difference), difference)
        first = twins[0]
        assert first.image.tobytes() == make_scene(0, number).image.tobytes()
        assert len({twin.caption for twin in twins}) == len(twins)
        varying = {
            place
            for twin in twins
            for place, (one, other) in enumerate(zip(twin.things, first.things, strict=True))
            if getattr(one, difference) != getattr(other, difference)
        }
        assert len(varying) == 1
        others = {"kind": "colour", "colour": "kind"}[difference]
        assert len({tuple(getattr(thing, others) for thing in twin.things) for twin in twins}) == 1
        assert {(twin.background, twin.tint) for twin in twins} == {(first.background, first.tint)}
        corner = [np.asarray(twin.image)[0, 0].tolist() for twin in twins]
        assert corner.count(corner[0]) == len(corner)


def test_an_unknown_kind_and_too_many_twins_are_refused() -> None:
    with pytest.raises(InputError, match=r"no kind 'unicorn'; there are circle, "):
        check_kinds(["heart", "unicorn"])
    with pytest.raises(InputError, match="no kind was named"):
        check_kinds([])
    with pytest.raises(InputError, match="27 scenes cannot all differ in kind alone: 1 to 26"):
        make_twins(0, 0, 27, "kind")


def test_draws_reach_both_ends_and_nothing_else() -> None:
    random = RandomStream(0, 0)
    assert {random.integer(-2, 3) for _ in range(500)} == {-2, -1, 0, 1, 2, 3}


def test_shuffling_keeps_everything_once_and_puts_it_everywhere() -> None:
    random = RandomStream(0, 0)
    orders = [random.shuffled("abcd") for _ in range(400)]
    assert all(sorted(order) == list("abcd") for order in orders)
    assert len({tuple(order) for order in orders}) == 24


def test_the_image_of_a_scene_is_its_own() -> None:
    assert isinstance(make_scene(0, 0).image, Image.Image)
    assert RandomStream(0, 0).integer(0, 10**6) != RandomStream(0, 0, "brief").integer(0, 10**6)
