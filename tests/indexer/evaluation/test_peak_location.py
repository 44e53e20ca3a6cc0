"""Nine scenes of four patches; tokens 1 to 4 are the patches 0 to 3."""

import numpy as np
import pytest

from indexer.evaluation.concepts import concepts
from indexer.evaluation.peak_location import PeakLocation, located
from indexer.evaluation.scenes import SceneTruths
from indexer.evaluation.score import Best, Top
from tests.indexer.evaluation.made import number_of, truths


def nine(concept: str, scenes: SceneTruths, tokens: list[int], *, n_showing: int = 9) -> PeakLocation:
    """One feature that stands for `concept`, and peaks at these tokens of scenes 0 to 8."""
    best = Best(np.array([number_of(concept)]), np.array([n_showing], dtype=np.int8), np.array([1.0]))
    return located(Top(np.array([5]), np.arange(9)[None]), np.array([tokens]), best, scenes, concepts())


HEARTS = truths(*["red heart, blue cat"] * 9, seen=[[[0], [1, 2]]] * 9)


def test_a_peak_on_the_thing_is_inside_and_one_beside_it_is_not() -> None:
    found = nine("heart", HEARTS, [1, 1, 1, 1, 1, 1, 1, 1, 4])
    assert (found.n_features, found.features) == (1, 1.0)
    assert (found.inside, found.touching) == pytest.approx((8 / 9, 8 / 9))


def test_a_peak_on_another_thing_is_outside() -> None:
    found = nine("heart", HEARTS, [2] * 9)
    assert (found.inside, found.features) == (0.0, 0.0)


def test_a_peak_at_cls_is_a_miss_and_counted() -> None:
    found = nine("heart", HEARTS, [0, 0, 1, 1, 1, 1, 1, 1, 1])
    assert (found.inside, found.at_cls) == pytest.approx((7 / 9, 2 / 9))
    assert found.features == 0.0


def test_chance_is_the_share_of_the_patches_that_show_the_thing() -> None:
    assert nine("heart", HEARTS, [1] * 9).chance == pytest.approx(0.25)
    assert nine("cat", HEARTS, [2] * 9).chance == pytest.approx(0.5)


def test_of_several_things_that_fit_any_will_do_and_the_colour_must_fit_too() -> None:
    scenes = truths(*["red heart, blue heart"] * 9, seen=[[[0], [1]]] * 9)
    assert nine("heart", scenes, [2] * 9).inside == 1.0
    assert nine("red heart", scenes, [2] * 9).inside == 0.0
    assert nine("red heart", scenes, [1] * 9).inside == 1.0


@pytest.mark.parametrize(("concept", "n_showing"), [("red", 9), ("on grass", 9), ("heart", 8)])
def test_features_of_no_kind_of_thing_or_not_true_of_all_nine_are_left_out(
    concept: str, n_showing: int
) -> None:
    found = nine(concept, HEARTS, [1] * 9, n_showing=n_showing)
    assert found == PeakLocation(0, None, None, None, None, None)
