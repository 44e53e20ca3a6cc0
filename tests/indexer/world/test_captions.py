import pytest

from indexer.evaluation.concepts import concepts
from indexer.world.backgrounds import Background
from indexer.world.captions import (
    brief_caption_of,
    caption_of,
    facts_of,
    vocabulary,
    with_plural_verb,
    world_vocabulary,
)
from indexer.world.kinds import Thing
from indexer.world.sampling import RandomStream
from indexer.world.scene import make_scene

SOMEWHERE = (0, 0, 10, 10)
PLAIN = Background("plain", "mint", ())


def captions(*things: Thing) -> set[str]:
    return {caption_of(things, PLAIN, RandomStream(0, number)).text for number in range(60)}


def test_articles_and_plurals_are_english() -> None:
    assert all("an orange cat" in found for found in captions(Thing("cat", "orange", SOMEWHERE)))
    assert all(
        "two red butterflies" in found for found in captions(*[Thing("butterfly", "red", SOMEWHERE)] * 2)
    )
    assert all("three red fish" in found for found in captions(*[Thing("fish", "red", SOMEWHERE)] * 3))


def test_captions_for_people_agree_with_their_number_and_those_for_training_stay() -> None:
    two = [Thing("fish", "purple", SOMEWHERE)] * 2
    trained = next(text for text in sorted(captions(*two)) if text.startswith("there is"))
    assert with_plural_verb(trained) == trained.replace("there is two", "there are two")
    assert with_plural_verb("there is a red cat on mint") == "there is a red cat on mint"
    scenes = [make_scene(0, number) for number in range(200)]
    assert all(scene.written_caption == with_plural_verb(scene.caption) for scene in scenes)
    assert not any("there is two" in scene.written_caption for scene in scenes)


@pytest.mark.parametrize(
    ("box", "relation"),
    [((20, 0, 30, 10), "left"), ((0, 20, 10, 30), "above"), ((5, 5, 15, 15), None)],
)
def test_relations_are_said_only_where_they_hold(
    box: tuple[int, int, int, int], relation: str | None
) -> None:
    found = captions(Thing("cat", "red", SOMEWHERE), Thing("house", "blue", box))
    said = {word for word in ("left", "right", "above", "below") if any(word in caption for caption in found)}
    assert said == ({relation} if relation else set())


def test_what_a_caption_claims_is_true_of_its_scene() -> None:
    for number in range(200):
        scene = make_scene(1, number)
        assert scene.full_caption.claims <= scene.facts()
        assert scene.brief_caption().claims <= scene.facts()


def test_a_caption_is_false_of_a_scene_that_lacks_something_it_names() -> None:
    cat, house = Thing("cat", "red", SOMEWHERE), Thing("house", "blue", (20, 0, 30, 10))
    full_caption = caption_of([cat, cat], PLAIN, RandomStream(0, 0))
    assert full_caption.claims <= facts_of([cat, cat, house], PLAIN)
    assert not full_caption.claims <= facts_of([cat, house], PLAIN)
    assert not full_caption.claims <= facts_of([cat, cat], Background("plain", "rose", ()))
    related = next(
        found
        for number in range(60)
        if "left" in (found := caption_of([cat, house], PLAIN, RandomStream(0, number))).text
    )
    swapped = [Thing("cat", "red", house.box), Thing("house", "blue", cat.box)]
    assert related.claims <= facts_of([cat, house], PLAIN)
    assert not related.claims <= facts_of(swapped, PLAIN)


def test_brief_captions_leave_things_out_and_are_worded_in_many_ways() -> None:
    cat = Thing("cat", "red", SOMEWHERE)
    found = {brief_caption_of([cat], PLAIN, RandomStream(0, number)).text for number in range(200)}
    assert {"a cat", "cat", "a red cat", "something red", "a plain background"} <= found


def test_the_vocabulary_has_every_word_of_every_caption() -> None:
    known = set(vocabulary())
    assert len(known) == len(vocabulary())
    for number in range(300):
        scene = make_scene(2, number)
        for text in (scene.caption, scene.brief_caption().text):
            assert set(text.replace(",", " ,").replace(":", " :").split()) <= known


def test_every_concept_that_has_words_is_in_it_once() -> None:
    words = world_vocabulary()
    assert len(words) == len(set(words))
    assert set(words) == {concept.text for concept in concepts() if concept.text is not None}


def test_captions_know_all_of_its_words() -> None:
    known = {*vocabulary(), "background"}
    assert {part for word in world_vocabulary() for part in word.split()} <= known
