"""What a feature fires on: all of it as columns, and examples by interval against a brute-force twin."""

import math

from hypothesis import given
from hypothesis import strategies as st

from scopeview.slots import Slot, slots_of
from scopeview.store.reader import IndexReader
from tests.app.index import LAYERS, N_FEATURES, N_IMAGES, NEVER_FIRES, TOKENS, SmallIndex

SLOTS = slots_of(LAYERS, TOKENS)


def ranking(small: SmallIndex, slot: Slot, feature: int) -> list[int]:
    """Ids of the images on which it fires, by rank."""
    column = small.dense[slot][:, feature]
    return sorted((at for at in range(N_IMAGES) if column[at] > 0), key=lambda at: (-column[at], at))


def test_the_columns_of_a_feature_are_all_its_images_by_rank(reader: IndexReader, small: SmallIndex) -> None:
    for slot in SLOTS:
        for feature in (0, 5, NEVER_FIRES):
            firing = reader.firing_columns(slot, feature)
            assert firing.image_id.tolist() == ranking(small, slot, feature)
            assert firing.activation.tolist() == small.dense[slot][firing.image_id, feature].tolist()
            assert (firing.position is not None) == (slot.token == "any")


def test_images_of_given_ranks_are_those_of_the_pages(reader: IndexReader) -> None:
    slot = Slot(1, "any")
    firing = reader.firing_columns(slot, 0)
    whole = reader.activating_images(slot, 0, limit=500)
    assert reader.ranked_images(firing, range(1, len(whole) + 1)) == whole
    assert reader.ranked_images(firing, [3, 1]) == [whole[2], whole[0]]


@given(st.sampled_from(SLOTS), st.integers(0, N_FEATURES - 1), st.integers(1, 7), st.integers(1, 9))
def test_intervals_hold_every_image_once_and_show_an_even_sample(
    reader: IndexReader, small: SmallIndex, slot: Slot, feature: int, n_intervals: int, per_interval: int
) -> None:
    found = reader.interval_images(reader.firing_columns(slot, feature), n_intervals, per_interval)
    column, order = small.dense[slot][:, feature], ranking(small, slot, feature)
    assert len(found) == (n_intervals if order else 0)
    ranks_so_far = 0
    for i, interval in zip(reversed(range(n_intervals)), found, strict=False):
        inside = [at for at in order if slice_of(float(column[at]), float(column.max()), n_intervals) == i]
        assert interval.n_images == len(inside)
        assert interval.low == float(column.max()) * i / n_intervals
        places = sample(len(inside), per_interval)
        assert [image.image_id for image in interval.images] == [inside[place] for place in places]
        assert [image.rank for image in interval.images] == [ranks_so_far + place + 1 for place in places]
        ranks_so_far += len(inside)
    assert ranks_so_far == len(order)


def slice_of(value: float, highest: float, n_intervals: int) -> int:
    """Slice i is highest * i / n < value <= highest * (i + 1) / n."""
    return max(math.ceil(value * n_intervals / highest) - 1, 0)


def sample(n_images: int, n_wanted: int) -> list[int]:
    """Every place where another whole part of the way is reached, the first among them."""
    if n_images <= n_wanted:
        return list(range(n_images))
    return [
        place
        for place in range(n_images)
        if place == 0 or place * n_wanted // n_images > (place - 1) * n_wanted // n_images
    ]
