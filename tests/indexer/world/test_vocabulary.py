"""The world's vocabulary names every concept that has words, as captions word it."""

from indexer.evaluation.concepts import concepts
from indexer.world.captions import vocabulary
from indexer.world.vocabulary import world_vocabulary


def test_every_concept_that_has_words_is_in_it_once() -> None:
    words = world_vocabulary()
    assert len(words) == len(set(words))
    assert set(words) == {concept.text for concept in concepts() if concept.text is not None}


def test_captions_know_all_of_its_words() -> None:
    known = {*vocabulary(), "background"}
    assert {part for word in world_vocabulary() for part in word.split()} <= known
