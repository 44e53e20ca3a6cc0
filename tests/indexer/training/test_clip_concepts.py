import math

import pytest
import torch

from indexer.training.clip_concepts import concepts, mean_by_region, naming_losses, new_head, shares_of
from indexer.world import make_scene
from tests.indexer.training.clips import tiny


def test_a_scene_s_concepts_are_its_kinds_colours_and_background_all_alike() -> None:
    scene = next(s for s in (make_scene(0, n, n_things=2) for n in range(50)) if s.tint)
    (shares,) = shares_of([scene.facts()])
    found = {concept for concept, share in zip(concepts(), shares, strict=True) if share}
    expected = {f"on {scene.background}", f"on {scene.tint} {scene.background}"}
    for thing in scene.things:
        expected |= {f"1 {thing.kind}", f"1 {thing.colour}"}
    assert found == expected
    assert shares.sum() == pytest.approx(1)
    assert set(shares.tolist()) == {0, shares.max()}


def test_every_concept_is_once_among_the_facts_of_some_scene() -> None:
    assert len(set(concepts())) == len(concepts()) == 26 + 12 + 10 + 6 * 8
    facts = frozenset().union(*(make_scene(0, number).facts() for number in range(400)))
    assert set(concepts()) <= facts


def test_the_loss_is_least_where_the_softmax_is_the_shares() -> None:
    shares = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    undecided = naming_losses(torch.zeros(2, 3), shares)
    assert undecided.tolist() == pytest.approx([math.log(3)] * 2)
    right = naming_losses(torch.tensor([[9.0, 9.0, -9.0], [9.0, -9.0, -9.0]]), shares)
    assert right.tolist() == pytest.approx([math.log(2), 0], abs=1e-4)


def test_each_region_counts_alike() -> None:
    losses, regions = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 0, 2])
    assert mean_by_region(losses, regions).item() == 6


def test_the_head_is_the_same_for_the_same_seed() -> None:
    one, again, other = (new_head(tiny(seed=seed)).weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (len(concepts()), 16)
