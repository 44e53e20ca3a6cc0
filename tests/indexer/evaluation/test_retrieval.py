"""Features 3, 5 and 8 of one layer (and 1 of another): hearts, cats, one of no account."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from jaxtyping import Float32

from indexer.evaluation.concepts import concepts, shown
from indexer.evaluation.retrieval import AMONG, FeatureMeanings, SearchScore, meaning, score, search_scopes
from indexer.evaluation.score import Top
from indexer.evaluation.search import RowFinder, Rows
from scopeview.slots import Slot
from scopeview.store.records import Hit
from tests.indexer.evaluation.made import number_of, truths

HERE, THERE = Slot(2, "any"), Slot("embed", "cls")
SCENES = truths(*["red heart"] * 9, *["red cat"] * 9, *["blue cat, green car"] * 9, "blue heart")
HEARTS, RED_CATS, MIXED = range(9), range(9, 18), range(5, 14)
TEXTS = {concept.text: np.ones(1, dtype=np.float32) for concept in concepts() if concept.text}


def means(**nines: Sequence[int]) -> FeatureMeanings:
    """By feature (`f3=...`) its nine top scenes."""
    features = np.array([int(name[1:]) for name in nines])
    return meaning(shown(SCENES), Top(features, np.array([list(nine) for nine in nines.values()])))


class Always:
    """Answers every text with the same features."""

    def __init__(self, answers: Mapping[Slot, Sequence[tuple[int, float]]]) -> None:
        self._answers = answers

    def __call__(self, slot: Slot, vector: Float32[np.ndarray, " projection"], k: int, /) -> list[Hit]:
        assert len(vector) == 1
        return [Hit(*hit) for hit in self._answers.get(slot, [])][:k]


def run(
    answers: Mapping[Slot, Sequence[tuple[int, float]]], meanings: Mapping[Slot, FeatureMeanings]
) -> SearchScore:
    (search,) = [found for found in search_scopes(list(meanings)) if len(found.slots) == len(meanings)][-1:]
    return score(search, meanings, TEXTS, {"vectors": Always(answers)})[0]


def test_asked_is_what_a_feature_stands_for_and_there_are_words_for() -> None:
    found = means(f3=HEARTS, f5=RED_CATS, f8=MIXED)
    asked = {concepts()[number].name for number in np.flatnonzero(found.asked)}
    assert asked == {"red heart", "red cat", "red"}  # the rarest that all nine show
    assert found.showing[0, number_of("heart")]
    assert not found.showing[2, number_of("heart")]


def test_a_feature_whose_nine_all_show_the_concept_is_right_even_if_it_stands_for_more() -> None:
    found = run({HERE: [(3, 0.9)]}, {HERE: means(f3=HEARTS, f8=MIXED)})
    assert (found.n_concepts, found.among, found.first) == (2, 1.0, 1.0)  # "red heart" and "red"


def test_only_the_first_five_answers_count_and_the_first_by_itself() -> None:
    meanings = {HERE: means(f3=HEARTS, f5=RED_CATS)}
    fifth = [(5, 0.9)] + [(100 + i, 0.8) for i in range(AMONG - 2)] + [(3, 0.1)]
    found = run({HERE: fifth}, meanings)
    assert (found.n_concepts, found.among, found.first) == (2, 1.0, 0.5)
    assert run({HERE: [*fifth[:-1], (101, 0.2), (3, 0.1)]}, meanings).among == 0.5


def test_over_all_layers_the_nearest_of_all_count_whichever_layer_they_are_of() -> None:
    meanings = {HERE: means(f3=HEARTS, f8=MIXED), THERE: means(f1=RED_CATS)}
    near = [(8, 0.5)] * AMONG
    found = run({HERE: near, THERE: [(1, 0.9)]}, meanings)
    assert (found.layer, found.token) == ("all", "any")
    assert found.first == pytest.approx(2 / 3)  # "red cat" and "red", not "red heart"
    assert run({HERE: near, THERE: [(1, 0.1)]}, meanings).first == pytest.approx(1 / 3)


def test_what_no_feature_stands_for_is_not_asked() -> None:
    found = run({}, {HERE: means(f8=range(9, 27, 2))})
    assert (found.n_concepts, found.among, found.first, found.n_by_group) == (1, 0.0, 0.0, {"kind": 1})
    empty = FeatureMeanings(
        np.array([], dtype=np.int64), np.zeros((0, 426), dtype=bool), np.zeros(426, dtype=bool)
    )
    none = run({}, {HERE: empty})
    assert (none.n_concepts, none.among, none.first) == (0, None, None)


def test_chance_is_what_drawing_features_gives() -> None:
    meanings = {HERE: means(**{f"f{i}": HEARTS if i == 0 else MIXED for i in range(12)})}
    lines = score(search_scopes([HERE])[0], meanings, TEXTS, {})
    (line,) = lines
    # "red heart": one right of twelve; "red": all twelve.
    assert line.how == "chance"
    assert line.among == pytest.approx((5 / 12 + 1) / 2)
    assert line.first == pytest.approx((1 / 12 + 1) / 2)


def test_searches_are_every_slot_and_every_token_over_all_layers_as_the_site_has_it() -> None:
    slots = [Slot(1, "cls"), Slot(1, "any"), Slot("embed", "cls")]
    assert [(found.layer, found.token, found.slots) for found in search_scopes(slots)] == [
        (1, "cls", slots[:1]),
        (1, "any", slots[1:2]),
        ("embed", "cls", slots[2:]),
        ("all", "cls", [Slot(1, "cls"), Slot("embed", "cls")]),
        ("all", "any", [Slot(1, "any"), Slot("embed", "cls")]),
    ]


def test_rows_are_found_by_cosine_and_of_equals_the_lower_feature() -> None:
    rows = np.array([[0, 1], [1, 0], [1, 0], [0.6, 0.8]], dtype=np.float32)
    find = RowFinder({HERE: Rows(np.array([2, 4, 6, 9]), rows)})
    found = find(HERE, np.array([3, 0], dtype=np.float32), 3)
    assert [hit.number for hit in found] == [4, 6, 9]
    assert [hit.cosine for hit in found] == pytest.approx([1, 1, 0.6])
