"""Questions that start from a slot or a feature, against the dense tables the index was written from."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.errors import InputError, NotFoundError
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import SORTS, Sort
from tests.app.index import FEW_IMAGES, N_FEATURES, N_IMAGES, NEVER_FIRES, TOP_N, SmallIndex
from tests.scopeview.store.conftest import Changed

CLS, ANY = Slot(3, "cls"), Slot(3, "any")


def ranking(small: SmallIndex, slot: Slot, feature: int) -> list[int]:
    """Every image on which the feature fires: by activation descending, then by image id."""
    column = small.dense[slot][:, feature]
    return sorted(np.flatnonzero(column > 0).tolist(), key=lambda image_id: (-column[image_id], image_id))


@pytest.mark.parametrize(
    ("layer", "token", "slot"),
    [
        (3, "cls", CLS),
        ("3", "0", CLS),
        (1, 137, Slot(1, "137")),
        ("embed", "cls", Slot("embed", "cls")),
    ],
)
def test_a_slot_has_several_spellings(
    reader: IndexReader, layer: int | str, token: str | int, slot: Slot
) -> None:
    assert reader.slot(layer, token) == slot


@pytest.mark.parametrize(
    ("layer", "token", "message"),
    [
        (2, "cls", "tiny has no layer 2; it has 1, 3, embed"),
        (3, "138", "layer 3 has no token '138'; it has cls, 137, any"),
        ("embed", "any", "layer embed has no token 'any'; it has cls"),
    ],
)
def test_an_unknown_slot_is_told_what_there_is(
    reader: IndexReader, layer: int | str, token: str, message: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        reader.slot(layer, token)
    assert str(caught.value) == message


@pytest.mark.parametrize(("layer", "token"), [("-1", "cls"), (True, "cls"), (3, "CLS"), (3, "+1")])
def test_a_slot_that_could_be_in_no_index_is_wrong_input(
    reader: IndexReader, layer: int | str, token: str
) -> None:
    with pytest.raises(InputError, match=r"is not (a block number|'cls')"):
        reader.slot(layer, token)


def test_a_summary_counts_live_and_active_features(reader: IndexReader, small: SmallIndex) -> None:
    for slot in reader.manifest.slots:
        n_active = (small.dense[slot] > 0).sum(axis=0)
        summary = reader.summary(slot)
        assert (summary.layer, summary.token) == slot
        assert summary.n_features == N_FEATURES
        assert summary.n_live == (n_active > 0).sum()
        assert summary.n_active == (n_active >= 9).sum()


def test_a_feature_is_what_its_column_says(reader: IndexReader, small: SmallIndex) -> None:
    for slot, feature in itertools.product(reader.manifest.slots, range(N_FEATURES)):
        column = small.dense[slot][:, feature]
        expected = ranking(small, slot, feature)
        found = reader.feature(slot.layer, feature, slot.token)
        assert (found.layer, found.token, found.feature) == (*slot, feature)
        assert (found.n_active, found.n_images) == (len(expected), N_IMAGES)
        assert found.density == len(expected) / N_IMAGES
        assert found.has_grid == (len(expected) >= 9)
        assert [top.image_id for top in found.top_images] == expected[:TOP_N]
        assert [top.rank for top in found.top_images] == [*range(1, len(expected[:TOP_N]) + 1)]
        assert [top.activation for top in found.top_images] == column[expected[:TOP_N]].tolist()
        if expected:
            assert found.max_activation == column.max()
            assert found.mean_activation == pytest.approx(column[expected].mean(dtype=np.float64))


def test_a_histogram_has_one_edge_more_than_counts_and_ends_at_the_maximum(reader: IndexReader) -> None:
    found = reader.feature(3, 0)
    assert found.max_activation is not None
    assert found.histogram.edges == [found.max_activation * i / 10 for i in range(11)]
    assert sum(found.histogram.counts) == found.n_active


def test_a_feature_that_never_fires_has_no_maximum_mean_or_edges(reader: IndexReader) -> None:
    found = reader.feature(3, NEVER_FIRES)
    assert (found.n_active, found.density, found.has_grid) == (0, 0.0, False)
    assert (found.max_activation, found.mean_activation) == (None, None)
    assert (found.histogram.edges, found.top_images) == ([], [])


def test_a_top_image_brings_its_key_caption_and_source(reader: IndexReader, small: SmallIndex) -> None:
    for top in reader.feature(3, 0).top_images:
        row = reader.image(top.image_id).row
        assert top.caption == small.captions[top.image_id]
        assert (top.key, top.source_url, top.punsafe) == (row.key, row.source_url, row.punsafe)


def test_only_any_says_at_which_token_it_was_reached(reader: IndexReader) -> None:
    assert all(top.position is None for top in reader.feature(3, 0, "cls").top_images)
    assert [top.position for top in reader.feature(3, 0, "any").top_images] == [
        (top.image_id * 7) % 257 for top in reader.feature(3, 0, "any").top_images
    ]


def test_a_number_from_numpy_is_a_number(reader: IndexReader) -> None:
    # Index arrays are where the numbers in a notebook come from.
    assert reader.feature(np.int64(3), np.int32(0), np.int64(137)) == reader.feature(3, 0, "137")
    assert reader.image(np.int64(4)) == reader.image(4)
    assert reader.thumb(np.int64(4)) == reader.thumb(4)
    assert list(reader.image_rows(np.array([4, 2]))) == [4, 2]
    assert list(reader.cards(CLS, np.array([4, 2]))) == [4, 2]


@pytest.mark.parametrize("feature", [-1, N_FEATURES, 2**31, 2**63, 10**40])
def test_an_unknown_feature_is_told_the_last_one(reader: IndexReader, feature: int) -> None:
    with pytest.raises(NotFoundError, match=f"layer 3 has no feature {feature}; it has 0 to 95$"):
        reader.feature(3, feature)
    assert reader.cards(CLS, [feature]) == {}


def test_cards_come_in_the_order_asked_and_each_once(reader: IndexReader, small: SmallIndex) -> None:
    cards = reader.cards(CLS, [5, FEW_IMAGES, 5, NEVER_FIRES, 2])
    assert list(cards) == [5, FEW_IMAGES, NEVER_FIRES, 2]
    for feature, card in cards.items():
        expected = ranking(small, CLS, feature)
        assert card.top_image_ids == expected[:9]
        assert (card.n_active, card.density) == (len(expected), len(expected) / N_IMAGES)
    assert cards[FEW_IMAGES].n_active == 3
    assert not cards[FEW_IMAGES].has_grid
    assert cards[NEVER_FIRES].max_activation is None


def test_all_images_of_a_feature_can_be_paged_through(reader: IndexReader, small: SmallIndex) -> None:
    for slot in (CLS, ANY):
        expected = ranking(small, slot, 0)
        assert len(expected) > TOP_N
        pages = [reader.activating_images(slot, 0, limit=7, offset=at) for at in range(0, N_IMAGES, 7)]
        found = list(itertools.chain.from_iterable(pages))
        assert [top.image_id for top in found] == expected
        assert [top.rank for top in found] == [*range(1, len(expected) + 1)]
        assert found[:TOP_N] == reader.feature(slot.layer, 0, slot.token).top_images


@pytest.mark.parametrize("feature", [NEVER_FIRES, N_FEATURES, 10**12])
def test_a_feature_that_never_fires_has_no_images(reader: IndexReader, feature: int) -> None:
    assert reader.activating_images(CLS, feature) == []


def test_the_live_neighbor_is_the_next_feature_that_fires(reader: IndexReader, small: SmallIndex) -> None:
    live = np.flatnonzero((small.dense[CLS] > 0).any(axis=0)).tolist()
    for feature in range(N_FEATURES):
        above = min((other for other in live if other > feature), default=None)
        below = max((other for other in live if other < feature), default=None)
        assert reader.live_neighbor(CLS, feature, forward=True) == above
        assert reader.live_neighbor(CLS, feature, forward=False) == below
    assert reader.live_neighbor(CLS, live[-1], forward=True) is None
    assert reader.live_neighbor(CLS, live[0], forward=False) is None


def test_a_feature_on_fewer_than_nine_images_has_no_grid(reader: IndexReader) -> None:
    assert reader.grid(CLS, 0).startswith(b"RIFF")
    for feature in (FEW_IMAGES, NEVER_FIRES, N_FEATURES, -1):
        with pytest.raises(NotFoundError, match=f"feature {feature} at 3-cls fires on fewer than 9 images"):
            reader.grid(CLS, feature)


def brute_gallery(small: SmallIndex, slot: Slot, sort: Sort, min_images: int) -> list[int]:
    dense = small.dense[slot]
    n_active, highest = (dense > 0).sum(axis=0), dense.max(axis=0)
    keys = {"feature": np.zeros(N_FEATURES), "density": -n_active, "max": -highest}
    # An index that was not described has no figure of the other kinds to sort by.
    order = np.lexsort((np.arange(N_FEATURES), keys.get(sort, keys["feature"])))
    return [int(feature) for feature in order if n_active[feature] >= min_images]


def test_a_gallery_is_a_page_of_the_sorted_matching_features(reader: IndexReader, small: SmallIndex) -> None:
    @given(
        st.sampled_from([sort for sort in SORTS if sort != "random"]),
        st.sampled_from([0, 1, 2, 9, 20, N_IMAGES + 1]),
        st.integers(1, N_FEATURES + 5),
        st.integers(0, N_FEATURES + 5),
    )
    def holds(sort: Sort, min_images: int, limit: int, offset: int) -> None:
        expected = brute_gallery(small, ANY, sort, min_images)
        found = reader.gallery(ANY, sort=sort, min_images=min_images, limit=limit, offset=offset)
        assert [card.feature for card in found.cards] == expected[offset : offset + limit]
        assert found.n_matching == len(expected)

    holds()


def test_features_that_never_fire_come_last_by_maximum(reader: IndexReader) -> None:
    cards = reader.gallery(CLS, sort="max", min_images=0, limit=N_FEATURES).cards
    assert [card.max_activation is None for card in cards] == sorted(card.n_active == 0 for card in cards)


def test_a_gallery_card_is_the_card_of_its_feature(reader: IndexReader) -> None:
    for card in reader.gallery(CLS, sort="density").cards:
        assert reader.cards(CLS, [card.feature]) == {card.feature: card}


def shuffled(reader: IndexReader, seed: int, *, limit: int = N_FEATURES, offset: int = 0) -> list[int]:
    found = reader.gallery(CLS, sort="random", min_images=0, seed=seed, limit=limit, offset=offset)
    return [card.feature for card in found.cards]


def test_a_random_order_is_a_permutation_and_the_same_for_the_same_seed(reader: IndexReader) -> None:
    for seed in (0, 1, 7, 2**31 - 1, 2**63):
        order = shuffled(reader, seed)
        assert sorted(order) == [*range(N_FEATURES)]
        pages = [shuffled(reader, seed, limit=20, offset=at) for at in range(0, N_FEATURES, 20)]
        assert list(itertools.chain.from_iterable(pages)) == order


def test_the_next_seed_gives_an_unrelated_order(reader: IndexReader) -> None:
    """In particular not the same order of each feature's neighbor, as hashing their sum would."""

    @given(st.integers(0, 2**31 - 2))
    def holds(seed: int) -> None:
        before, after = shuffled(reader, seed), shuffled(reader, seed + 1)
        followers = dict(itertools.pairwise(after))
        for step in (-1, 0, 1):
            kept = sum(followers.get(a + step) == b + step for a, b in itertools.pairwise(before))
            assert kept < N_FEATURES / 4

    holds()


def test_a_random_feature_has_a_grid_and_depends_on_the_seed(reader: IndexReader) -> None:
    found = [reader.random_feature(CLS, seed) for seed in range(20)]
    assert found == [reader.random_feature(CLS, seed) for seed in range(20)]
    assert len(set(found)) > 1
    for feature in found:
        assert feature is not None
        assert reader.feature(3, feature).has_grid


def test_a_slot_without_grids_has_no_random_feature(changed: Changed) -> None:
    with IndexReader(changed("UPDATE features SET n_active = 8")) as reader:
        assert reader.random_feature(CLS, 0) is None
