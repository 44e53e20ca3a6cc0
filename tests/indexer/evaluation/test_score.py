import numpy as np
import pytest
from jaxtyping import Int8

from indexer.evaluation.concepts import Concept, concepts, shown
from indexer.evaluation.scenes import concatenate_truths, scene_truth
from indexer.evaluation.score import Best, best_concepts, covered, n_showing, random_top, shares
from indexer.world import make_scene
from tests.indexer.evaluation.made import number_of, truths


def counts_of(*rows: list[int]) -> Int8[np.ndarray, "feature concept"]:
    return np.array(rows, dtype=np.int8)


def test_counts_are_of_the_top_scenes_alone() -> None:
    scenes = truths(*["red heart"] * 7, "red cat", "blue heart", "blue cat")
    (counts,) = n_showing(shown(scenes), np.arange(9)[None])
    named = {name: counts[number_of(name)] for name in ("heart", "red", "red heart", "cat", "blue cat")}
    assert named == {"heart": 8, "red": 8, "red heart": 7, "cat": 1, "blue cat": 0}


def test_what_all_nine_show_beats_any_rarer_concept_that_eight_show() -> None:
    best = best_concepts(counts_of([9, 8]), np.array([0.9, 0.001]))
    assert (best.concepts.tolist(), best.n_showing.tolist(), best.scores.tolist()) == ([0], [9], [1.0])


def test_of_two_that_all_nine_show_the_rarer_is_named_and_of_equals_the_first() -> None:
    assert best_concepts(counts_of([9, 9, 9]), np.array([0.2, 0.1, 0.1])).concepts.tolist() == [1]


def test_below_nine_the_base_rate_decides() -> None:
    """(7/9 - 0.01) / 0.99 = 0.775, (8/9 - 0.6) / 0.4 = 0.722."""
    best = best_concepts(counts_of([8, 7]), np.array([0.6, 0.01]))
    assert (best.concepts.tolist(), best.n_showing.tolist()) == ([1], [7])
    assert best.scores[0] == pytest.approx((7 / 9 - 0.01) / 0.99)


def test_what_every_scene_shows_is_never_named() -> None:
    assert best_concepts(counts_of([9, 0]), np.array([1.0, 0.5])).concepts.tolist() == [1]


def test_the_best_concept_is_that_of_a_plain_search() -> None:
    scenes = concatenate_truths([scene_truth(make_scene(11, number), 4) for number in range(40)])
    truth = shown(scenes)
    base = truth.mean(axis=0)
    top = random_top(30, 40, seed=1).scenes
    best = best_concepts(n_showing(truth, top), base)
    for feature, nine in enumerate(top):
        precision = truth[nine].mean(axis=0)
        ranks = [
            ((p - b) / (1 - b), -b) for p, b in zip(precision.tolist(), base.tolist(), strict=True) if b < 1
        ]
        named = best.concepts[feature]
        assert best.n_showing[feature] == truth[nine, named].sum()
        assert (best.scores[feature], -base[named]) == pytest.approx(max(ranks))


def some() -> tuple[Concept, ...]:
    return tuple(concepts()[number_of(name)] for name in ("heart", "red"))


def test_shares_are_of_the_scored_features_and_by_group() -> None:
    best = Best(np.array([0, 0, 1, 1]), np.array([9, 8, 9, 3], dtype=np.int8), np.array([1.0, 0.9, 1.0, 0.1]))
    found = shares(best, some())
    assert (found.n_scored, found.nine, found.eight, found.mean_score) == (4, 0.5, 0.75, 0.75)
    assert {group: share for group, share in found.nine_by_group.items() if share} == {
        "kind": 0.25,
        "colour": 0.25,
    }


def test_where_no_feature_fires_often_enough_there_is_no_share() -> None:
    none = best_concepts(np.empty((0, 2), dtype=np.int8), np.array([0.1, 0.2]))
    found = shares(none, some())
    assert (found.n_scored, found.nine, found.eight, found.mean_score) == (0, None, None, None)
    assert found.nine_by_group == {}
    assert not covered(np.empty((0, 2), dtype=np.int8)).any()


def test_a_concept_is_covered_by_all_nine_and_not_by_eight_of_several_features() -> None:
    assert covered(counts_of([9, 8, 0], [0, 8, 0])).tolist() == [True, False, False]


def test_chance_draws_nine_different_scenes_a_feature_and_the_same_each_time() -> None:
    top = random_top(50, 12, seed=0)
    assert all(len(set(nine)) == 9 and max(nine) < 12 for nine in top.scenes.tolist())
    assert (top.scenes == random_top(50, 12, seed=0).scenes).all()
    assert random_top(0, 12, seed=0).scenes.shape == (0, 9)
