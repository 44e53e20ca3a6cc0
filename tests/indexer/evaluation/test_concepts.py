import numpy as np
from jaxtyping import Bool

from indexer.evaluation.concepts import GROUPS, concepts, shown
from indexer.evaluation.scenes import concatenate_truths, scene_truth
from indexer.world import Scene, make_scene
from indexer.world.captions import vocabulary
from tests.indexer.evaluation.made import truths


def names_of(found: Bool[np.ndarray, " concept"]) -> set[str]:
    return {concept.name for concept, has in zip(concepts(), found, strict=True) if has}


def test_a_scene_shows_what_is_in_it_and_nothing_else() -> None:
    (found,) = shown(truths("red heart, blue cat", on=["mint stripes"], at=[(0, 2)]))
    assert names_of(found) == {
        *("heart", "cat", "red", "blue", "red heart", "blue cat"),
        *("on stripes", "on mint", "on mint stripes"),
        *("things: 2", "largest thing at the top", "largest thing right"),
    }


def test_a_colour_and_a_kind_must_be_of_one_thing() -> None:
    (found,) = shown(truths("red heart, blue cat"))
    assert not {"red cat", "blue heart"} & names_of(found)


def test_a_background_with_colours_of_its_own_has_no_tint() -> None:
    (found,) = shown(truths("red heart", on=["night"]))
    assert {name for name in names_of(found) if name.startswith("on ")} == {"on night"}


def expected(scene: Scene) -> set[str]:
    """The same, thing by thing."""
    left, top, right, bottom = scene.largest.box
    columns, rows = ("left", "in the middle", "right"), ("at the top", "mid-height", "low")
    on = [scene.background, *([scene.tint, f"{scene.tint} {scene.background}"] if scene.tint else [])]
    return {
        *(thing.kind for thing in scene.things),
        *(thing.colour for thing in scene.things),
        *(f"{thing.colour} {thing.kind}" for thing in scene.things),
        *(f"on {name}" for name in on),
        f"things: {len(scene.things)}",
        f"largest thing {columns[int((left + right) / 2 / 128 * 3)]}",
        f"largest thing {rows[int((top + bottom) / 2 / 128 * 3)]}",
    }


def test_the_arrays_say_what_the_scenes_say() -> None:
    scenes = [make_scene(7, number) for number in range(60)]
    found = shown(concatenate_truths([scene_truth(scene, 16) for scene in scenes]))
    assert [names_of(row) for row in found] == [expected(scene) for scene in scenes]


def test_every_concept_has_its_own_name_and_text_and_every_group_some() -> None:
    texts = [concept.text for concept in concepts() if concept.text is not None]
    assert len({concept.name for concept in concepts()}) == len(concepts()) == 426
    assert len(set(texts)) == len(texts) == 416
    assert {concept.group for concept in concepts()} == set(GROUPS)


def test_texts_use_words_that_the_captions_use() -> None:
    known = set(vocabulary())
    assert all(set(concept.text.split()) <= known for concept in concepts() if concept.text is not None)
