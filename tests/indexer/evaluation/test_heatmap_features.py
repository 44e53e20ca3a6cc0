"""Which feature stands for a thing, on ten scenes by hand."""

import numpy as np
import pytest

from indexer.evaluation.concepts import shown
from indexer.evaluation.heatmap_features import average_precision, object_features, read_rankings
from indexer.evaluation.score import Top
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from tests.indexer.evaluation.made import number_of, truths

# Twelve with a heart, of which three are red; then eight red cats.
SCENES = truths(*["red heart"] * 3, *["blue heart"] * 9, *["red cat"] * 8)
HEARTS = list(range(12))


def chosen(ranked: dict[int, list[int]]) -> dict[int, tuple[int, float]]:
    """By concept the feature that stands for it, and its average precision."""
    top = Top(np.array(list(ranked)), np.array([scenes[:9] for scenes in ranked.values()]))
    found = object_features({f: np.array(scenes) for f, scenes in ranked.items()}, top, shown(SCENES))
    rows = zip(*(column.tolist() for column in found), strict=True)
    return {number: (feature, precision) for number, feature, precision in rows}


def test_the_feature_that_ranks_all_scenes_best_stands_for_the_thing() -> None:
    found = chosen({5: HEARTS[:9], 6: [*HEARTS, 12], 7: [*HEARTS[:11], 12, 13, 11]})
    assert found[number_of("heart")] == (6, 1.0)


def test_only_features_whose_nine_top_scenes_all_show_it_are_asked() -> None:
    assert number_of("heart") not in chosen({5: [*HEARTS[:8], 12, *HEARTS[8:]]})
    assert number_of("blue heart") in chosen({5: HEARTS[3:]})
    assert number_of("cat") not in chosen({5: HEARTS})


def test_of_equals_the_lower_feature_is_named_and_backgrounds_are_no_things() -> None:
    found = chosen({9: HEARTS, 4: HEARTS})
    assert found[number_of("heart")] == (4, 1.0)
    assert number_of("on grass") not in found


def test_where_nothing_stands_for_a_thing_there_is_none() -> None:
    assert chosen({5: [3, 12, 4, 13, 5, 14, 6, 15, 7]}) == {}


def test_average_precision_counts_what_is_never_found() -> None:
    found = np.array([True, False, True])
    assert average_precision(found, 2) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(found, 5) == pytest.approx((1 + 2 / 3) / 5)
    assert average_precision(np.array([False]), 3) == 0


def test_the_ranks_of_an_index_are_its_features_top_scenes_and_all_that_follow(index: object) -> None:
    with IndexReader(index) as reader:  # type: ignore[arg-type]
        slot = Slot(1, "any")
        ranked = read_rankings(reader, slot)
        rows = reader.sql(
            "SELECT feature, n_active, top_images FROM features"
            " WHERE layer = '1' AND token = 'any' AND n_active > 0"
        )
    assert len(ranked) == len(rows)
    for feature, n_active, top in rows:
        assert len(ranked[feature]) == n_active
        assert ranked[feature][: len(top)].tolist() == top
