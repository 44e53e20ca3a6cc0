import numpy as np
import pytest

from indexer.training.clip_windows import FULL_WINDOW, NO_REGION, Window, object_window, scene_regions
from indexer.world import make_scene, make_twins


def test_a_window_is_a_square_of_the_image() -> None:
    scene = make_scene(0, 1)
    window = Window(left=2, top=5, side=4)
    assert window.patches.tolist()[:5] == [82, 83, 84, 85, 98]
    image = np.asarray(scene.image).transpose(2, 0, 1)
    assert np.array_equal(window.pixels(scene), image[:, 40:72, 16:48])
    assert np.array_equal(FULL_WINDOW.pixels(scene), image)
    assert np.array_equal(FULL_WINDOW.patches, np.arange(256))


@pytest.mark.parametrize("side", [4, 8, 16])
def test_it_holds_the_thing_or_as_much_as_it_can(side: int) -> None:
    for number in range(40):
        scene = make_scene(0, number, n_things=1)
        window = object_window(scene, side)
        left, top, right, bottom = scene.things[0].box
        for start, low, high in ((window.left, left, right), (window.top, top, bottom)):
            assert 0 <= start <= 16 - side
            end = start + side
            assert (8 * start <= low and high <= 8 * end) or (low <= 8 * start + 7 and 8 * end - 7 <= high)
        assert window == object_window(scene, side)


def test_windows_stand_at_many_places() -> None:
    windows = {object_window(make_scene(0, number, n_things=1), 8) for number in range(60)}
    assert len(windows) > 25


def test_regions_are_what_patches_show() -> None:
    for number in range(20):
        scene = make_scene(0, number)
        regions = scene_regions(scene, FULL_WINDOW)
        cover = [mask.reshape(16, 8, 16, 8).mean(axis=(1, 3)).ravel() for mask in scene.masks]
        assert set(regions.of_patch.tolist()) - {NO_REGION} == set(range(len(regions.captions)))
        for thing, covered in zip(scene.things, cover, strict=True):
            (region,) = set(regions.of_patch[covered > 0.5].tolist())
            assert f"1 {thing.colour} {thing.kind}" in regions.facts[region]
        (background,) = set(regions.of_patch[np.sum(cover, axis=0) == 0].tolist())
        assert f"on {scene.background}" in regions.facts[background]
        part = (np.sum(cover, axis=0) > 0) & (np.max(cover, axis=0) <= 0.5)
        assert set(regions.of_patch[part].tolist()) <= {NO_REGION}


def test_names_are_true_of_their_regions_and_in_words_of_captions() -> None:
    texts = set()
    for number in range(60):
        scene = make_scene(0, number)
        regions = scene_regions(scene, FULL_WINDOW)
        assert all(c.claims <= facts for c, facts in zip(regions.captions, regions.facts, strict=True))
        assert all(facts <= scene.facts() for facts in regions.facts)
        texts |= {caption.text for caption in regions.captions}
    assert any(text.startswith("something ") for text in texts)
    assert len(texts) > 80


def test_what_the_window_does_not_show_is_no_region() -> None:
    scene = next(
        s for s in (make_scene(0, n, n_things=1) for n in range(100)) if min(s.things[0].box[:2]) > 24
    )
    regions = scene_regions(scene, Window(0, 0, 2))
    assert len(regions.captions) == 1
    assert not any("1 " in fact for fact in regions.facts[0])


def test_twins_are_seen_through_one_window_where_their_boxes_are_alike() -> None:
    one, *others = make_twins(0, 3, 4, "colour", n_things=1)
    assert {object_window(other, 8) for other in others} == {object_window(one, 8)}
