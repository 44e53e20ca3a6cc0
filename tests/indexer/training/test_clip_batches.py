from itertools import islice

import numpy as np
import pytest
import torch

from indexer.training.clip_batches import (
    Batches,
    SceneBatch,
    draw_scenes,
    matching_claims,
    stream,
    training_world,
)
from indexer.training.clip_windows import NO_REGION
from indexer.world import make_scene
from tests.indexer.training.clips import BATCH_SIZE, tiny


def same(one: SceneBatch, other: SceneBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_is_a_function_of_seed_and_step_alone() -> None:
    batches = Batches(tiny())
    assert same(batches[3], Batches(tiny())[3])
    assert not same(batches[3], batches[2])
    assert not same(batches[3], Batches(tiny(seed=1))[3])


def test_half_of_a_batch_are_twins_and_no_scene_comes_twice() -> None:
    scenes = draw_scenes(tiny(hard_negatives=0.5), step=2)
    assert len(scenes) == BATCH_SIZE
    twins, others = scenes[:6], scenes[6:]
    assert len({scene.number for scene in twins}) == 1
    assert len({scene.caption for scene in twins}) == 6
    assert len({scene.number for scene in others}) == 6
    earlier = {scene.number for step in (0, 1) for scene in draw_scenes(tiny(), step)}
    assert not earlier & {scene.number for scene in scenes}
    assert {scene.seed for scene in scenes} == {training_world(0)}
    assert training_world(0) < 0


def test_batches_may_have_no_twins_at_all_or_no_room_for_a_group() -> None:
    assert len({scene.number for scene in draw_scenes(tiny(hard_negatives=0.0), 0)}) == BATCH_SIZE
    assert len(draw_scenes(tiny(batch_size=4, hard_negatives=1.0), 0)) == 4


def test_also_true_says_what_comparing_claims_one_by_one_says() -> None:
    scenes = [make_scene(0, number) for number in range(80)]
    captions = [scene.brief_caption() if scene.number % 2 else scene.full_caption for scene in scenes]
    facts = [scene.facts() for scene in scenes]
    expected = [[caption.claims <= found for caption in captions] for found in facts]
    met = matching_claims(captions, facts)
    assert np.array_equal(met, expected)
    assert met.diagonal().all()
    assert 0.02 < met.mean() < 0.2


def test_a_caption_is_never_called_also_true_of_its_own_image() -> None:
    batch = Batches(tiny(brief_captions=1.0, batch_size=48))[0]
    assert not batch.also_true.diagonal().any()
    assert batch.also_true.any()


def test_most_steps_see_windows_on_one_thing_and_some_whole_scenes() -> None:
    settings = tiny(n_steps=12, window=7, whole_every=6, whole_end=0.0)
    for step, side in ((0, 7), (5, 16), (6, 7)):
        batch = Batches(settings)[step]
        assert batch.pixels.shape == (BATCH_SIZE, 3, 8 * side, 8 * side)
        assert batch.patches.shape == batch.region_of_patch.shape == (BATCH_SIZE, side * side)
        most = max(len(scene.things) for scene in draw_scenes(settings, step))
        assert most > 1 if side == 16 else most == 1


def test_regions_are_numbered_through_the_batch_and_each_has_its_words() -> None:
    batch = Batches(tiny())[0]
    shown = sorted(set(batch.region_of_patch.flatten().tolist()))
    assert shown == [NO_REGION, *range(len(batch.region_words))]
    assert batch.region_also_true.shape == (len(batch.region_words),) * 2
    assert not batch.region_also_true.diagonal().any()
    of_image = [set(row.tolist()) - {NO_REGION} for row in batch.region_of_patch]
    assert sum(map(len, of_image)) == len(batch.region_words)


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [0, 1])
def test_the_stream_goes_on_from_any_step_in_order(n_workers: int) -> None:
    settings = tiny(n_steps=7)
    expected = Batches(settings)
    found = list(islice(stream(settings, 3, n_workers), 10))
    assert len(found) == 4
    assert all(same(batch, expected[step]) for step, batch in enumerate(found, 3))
