"""Features of two images, and of one alone."""

from app.services.compare_images import code_overlaps
from scopeview.slots import Slot
from scopeview.store.records import ActiveFeature, Code


def code(layer: int, **activations: float) -> Code:
    pairs = [ActiveFeature(int(name[1:]), value, None) for name, value in activations.items()]
    return Code(layer, "cls", len(pairs), pairs)


def test_each_feature_is_on_both_or_on_one() -> None:
    (found,) = code_overlaps(
        [code(1, f1=9.0, f2=5.0, f3=1.0)], [code(1, f2=4.0, f3=6.0, f4=2.0)], [Slot(1, "cls")]
    )
    assert [(pair.one.feature, pair.one.activation, pair.other.activation) for pair in found.shared] == [
        (2, 5.0, 4.0),
        (3, 1.0, 6.0),
    ]
    assert [pair.feature for pair in found.one] == [1]
    assert [pair.feature for pair in found.other] == [4]
    assert found.likeness == 0.5


def test_what_is_not_above_zero_does_not_fire() -> None:
    (found,) = code_overlaps([code(1, f1=0.0, f2=-1.0)], [code(1, f1=3.0)], [Slot(1, "cls")])
    assert (found.shared, found.one, [pair.feature for pair in found.other]) == ([], [], [1])
    assert found.likeness == 0.0


def test_a_layer_that_one_of_them_lacks_is_left_out() -> None:
    assert code_overlaps([code(1, f1=1.0)], [code(2, f1=1.0)], [Slot(1, "cls"), Slot(2, "cls")]) == []
    assert code_overlaps([code(1)], [code(1)], [Slot(1, "cls")])[0].likeness == 0.0
