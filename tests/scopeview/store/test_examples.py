"""What a feature fires on: all of it as columns, and examples by interval against a brute-force twin."""

import math

from hypothesis import given
from hypothesis import strategies as st

from scopeview.slots import Slot, slots_of
from scopeview.store.examples import N_INTERVALS, sampled, sampled_ranks
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


def test_pages_of_images_are_parts_of_all_of_them(reader: IndexReader) -> None:
    slot = Slot(1, "any")
    whole = reader.activating_images(slot, 0, limit=500)
    assert [image.image_id for image in whole] == reader.firing_columns(slot, 0).image_id.tolist()
    assert reader.activating_images(slot, 0, limit=2, offset=1) == whole[1:3]


@given(st.sampled_from(SLOTS), st.integers(0, N_FEATURES - 1), st.integers(1, 7), st.integers(1, 9))
def test_intervals_hold_every_image_once_and_show_an_even_sample(
    reader: IndexReader, small: SmallIndex, slot: Slot, feature: int, n_intervals: int, per_interval: int
) -> None:
    found = sampled(reader.firing_columns(slot, feature), n_intervals, per_interval)
    column, order = small.dense[slot][:, feature], ranking(small, slot, feature)
    assert len(found.n_images) == (n_intervals if order else 0)
    assert sum(found.n_images) == len(order)
    ranks = [rank for ranks in sampled_ranks(found.n_images, per_interval) for rank in ranks]
    assert found.image_ids == [order[rank - 1] for rank in ranks]
    assert found.activations == [float(column[at]) for at in found.image_ids]
    before = 0
    for i, n_images in zip(reversed(range(n_intervals)), found.n_images, strict=False):
        inside = [at for at in order if slice_of(float(column[at]), float(column.max()), n_intervals) == i]
        assert n_images == len(inside)
        places = [rank - before - 1 for rank in ranks if before < rank <= before + n_images]
        assert places == sample(n_images, per_interval)
        before += n_images


def test_intervals_name_their_ends_and_the_ranks_of_their_images(
    reader: IndexReader, small: SmallIndex
) -> None:
    for slot in SLOTS:
        highest, found = float(small.dense[slot][:, 0].max()), reader.intervals(slot, 0)
        assert [each.low for each in found] == [highest * i / N_INTERVALS for i in (4, 3, 2, 1, 0)]
        assert [each.high for each in found] == [highest * i / N_INTERVALS for i in (5, 4, 3, 2, 1)]
        whole = reader.activating_images(slot, 0, limit=500)
        shown = [image for each in found for image in each.images]
        assert shown == [whole[image.rank - 1] for image in shown]
    assert reader.intervals(SLOTS[0], NEVER_FIRES) == []


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
