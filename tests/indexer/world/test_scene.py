import hashlib
from collections import Counter

import numpy as np
import pytest

from indexer.world import Scene, make_scene
from indexer.world.backgrounds import background_kinds
from indexer.world.canvas import PICTURE_PX
from indexer.world.draws import Draws
from indexer.world.palette import COLOURS, TINTS
from indexer.world.things import kinds


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(0, number) for number in range(400)]


def test_a_scene_is_the_same_on_every_machine(scenes: list[Scene]) -> None:
    digest = hashlib.sha256()
    for scene in scenes[:40]:
        digest.update(scene.image.tobytes())
        digest.update(repr((scene.caption, scene.truth())).encode())
    assert digest.hexdigest() == "ce5ddaaa5e6dae234ca1c0999dc2f0caf2caae0087b450de0e91960fab86ae85"


def test_a_scene_depends_on_its_seed_and_its_number_alone(scenes: list[Scene]) -> None:
    assert make_scene(0, 7).image.tobytes() == scenes[7].image.tobytes()
    pictures = [make_scene(seed, number).image.tobytes() for seed in range(8) for number in range(16)]
    assert len(set(pictures)) == len(pictures)


def test_every_kind_colour_and_background_comes_up(scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.things]
    assert {thing.kind for thing in things} == set(kinds())
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {scene.background for scene in scenes} == set(background_kinds())
    assert {scene.tint for scene in scenes} == {*TINTS, None}
    assert set(Counter(len(scene.things) for scene in scenes)) == {1, 2, 3, 4}
    assert (len(kinds()), len(COLOURS), len(background_kinds())) == (20, 12, 9)


def test_pictures_are_rgb_of_128_pixels(scenes: list[Scene]) -> None:
    assert {(scene.image.mode, scene.image.size) for scene in scenes} == {("RGB", (PICTURE_PX, PICTURE_PX))}


def test_the_colour_of_a_thing_is_seen_in_its_box(scenes: list[Scene]) -> None:
    for scene in scenes:
        pixels = np.asarray(scene.image).astype(int)
        for thing in scene.things:
            left, top, right, bottom = thing.box
            distance = np.abs(pixels[top:bottom, left:right] - np.array(COLOURS[thing.colour])).max(axis=2)
            assert (distance < 4).mean() > 0.06, (scene.caption, thing)


def test_boxes_lie_inside_the_picture(scenes: list[Scene]) -> None:
    for scene in scenes:
        for left, top, right, bottom in (thing.box for thing in scene.things):
            assert 0 <= left < right <= PICTURE_PX
            assert 0 <= top < bottom <= PICTURE_PX


def test_captions_name_everything_and_are_worded_in_many_ways(scenes: list[Scene]) -> None:
    for scene in scenes:
        for thing in scene.things:
            assert f"{thing.colour} {thing.kind}"[:-1] in scene.caption
    assert len({scene.caption for scene in scenes}) > 380


def test_draws_reach_both_ends_and_nothing_else() -> None:
    draws = Draws(0, 0)
    assert {draws.integer(-2, 3) for _ in range(500)} == {-2, -1, 0, 1, 2, 3}
