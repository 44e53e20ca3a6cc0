import math

import pytest
import torch

from indexer.training.clip_concepts import Heads, concept_shares, concepts, subject_numbers, subjects
from indexer.world import make_scene
from indexer.world.captions import place_facts_of, thing_facts_of
from indexer.world.kinds import kinds
from tests.indexer.training.clips import tiny


def test_a_scene_s_concepts_are_its_kinds_colours_and_background_all_alike() -> None:
    scene = next(s for s in (make_scene(0, n, n_things=2) for n in range(50)) if s.tint)
    (shares,) = concept_shares([scene.facts()])
    found = {concept for concept, share in zip(concepts(), shares, strict=True) if share}
    expected = {f"on {scene.background}"}
    for thing in scene.things:
        expected |= {f"1 {thing.kind}", f"1 {thing.colour}"}
    assert found == expected
    assert shares.sum() == pytest.approx(1)
    assert set(shares.tolist()) == {0, shares.max()}


def test_every_concept_is_once_among_the_facts_of_some_scene() -> None:
    assert len(set(concepts())) == len(concepts()) == 26 + 12 + 10
    facts = frozenset().union(*(make_scene(0, number).facts() for number in range(400)))
    assert set(concepts()) <= facts


def test_regions_have_the_kind_of_their_thing_or_background() -> None:
    scene = make_scene(0, 0, n_things=2)
    facts = [thing_facts_of(thing) for thing in scene.things] + [place_facts_of(scene.backdrop)]
    expected = [*(f"1 {thing.kind}" for thing in scene.things), f"on {scene.background}"]
    assert [subjects()[number] for number in subject_numbers(facts)] == expected


def test_the_loss_is_least_where_the_softmax_is_the_shares() -> None:
    heads = Heads(tiny())
    shares = torch.zeros(2, len(concepts()))
    shares[0, :2], shares[1, 0] = 0.5, 1.0
    with torch.no_grad():
        heads.of_images.weight.zero_()
        heads.of_images.bias.zero_()
        undecided, _ = heads.concept_loss(torch.zeros(2, 16), shares)
        heads.of_images.bias[:2] = 20.0
        near, named = heads.concept_loss(torch.zeros(2, 16), shares)
    assert undecided.item() == pytest.approx(math.log(len(concepts())))
    assert near.item() == pytest.approx(math.log(2))
    assert named.item() == 1


def test_an_image_is_named_right_by_any_concept_that_is_true_of_it() -> None:
    heads = Heads(tiny())
    with torch.no_grad():
        heads.of_images.weight.zero_()
        heads.of_images.bias[3] = 20.0
        shares = torch.zeros(4, len(concepts()))
        shares[:, 5], shares[0, 3] = 1.0, 0.5
        _, named = heads.concept_loss(torch.zeros(4, 16), shares)
    assert named.item() == 0.25


def test_patches_of_the_background_count_less() -> None:
    heads = Heads(tiny())
    background = len(kinds())
    with torch.no_grad():
        heads.of_patches.weight.zero_()
        heads.of_patches.bias.zero_()
        heads.of_patches.bias[background] = 2.0
        thing, place, both = (
            heads.patch_loss(torch.zeros(len(found), 32), torch.tensor(found)).item()
            for found in ([0], [background], [0, background])
        )
    assert place < thing
    assert both == pytest.approx((thing + 0.5 * place) / 1.5)


def test_the_heads_are_the_same_for_the_same_seed() -> None:
    one, again, other = (Heads(tiny(seed=seed)).of_images.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == (len(concepts()), 16)
