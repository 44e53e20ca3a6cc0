"""What a server keeps in memory answers as the database does."""

from typing import Any

import numpy as np
import pytest

from scopeview.errors import NotFoundError
from scopeview.slots import Slot
from scopeview.store.columns import SlotColumns, in_range, read_columns, read_punsafe
from scopeview.store.images import MAX_ROWS_IN_MEMORY
from scopeview.store.reader import IndexReader
from tests.app.index import N_FEATURES, N_IMAGES, SmallIndex
from tests.scopeview.store.conftest import Changed

CLS = Slot(3, "cls")


def columns_of(reader: IndexReader, slot: Slot) -> SlotColumns:
    return read_columns(reader.columns, slot, N_FEATURES, read_punsafe(reader.columns, N_IMAGES))


def test_a_warm_reader_says_of_each_image_what_a_cold_one_says(small: SmallIndex) -> None:
    ids = [5, 3, N_IMAGES, 63, 3, -1, 0]
    with IndexReader(small.index_dir) as cold, IndexReader(small.index_dir) as warm:
        warm.warm()
        assert list(warm.image_rows(ids)) == [5, 3, 63, 0]
        assert warm.image_rows(ids) == cold.image_rows(ids)
        assert warm.image_rows(range(N_IMAGES)) == cold.image_rows(range(N_IMAGES))
        assert warm.feature(3, 0) == cold.feature(3, 0)


def test_a_warm_reader_finds_the_images_of_a_feature_where_they_lie(
    small: SmallIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    with IndexReader(small.index_dir) as cold, IndexReader(small.index_dir) as warm:
        warm.warm()
        expected = {
            (slot, feature): cold.firing_columns(slot, feature)
            for slot in cold.manifest.slots
            for feature in range(N_FEATURES)
        }
        monkeypatch.setattr("scopeview.store.examples.IN_SLOT", "layer = $layer AND token = $token AND false")
        for (slot, feature), firing in expected.items():
            found = warm.firing_columns(slot, feature)
            for name, column in vars(firing).items():
                assert np.array_equal(getattr(found, name), column), (slot, feature, name)


def test_a_database_that_lacks_features_is_still_asked_for_their_neighbors_images(changed: Changed) -> None:
    with IndexReader(changed("DELETE FROM features WHERE feature < 4")) as reader:
        expected = reader.firing_columns(CLS, 5)
        reader.warm()
        assert np.array_equal(reader.firing_columns(CLS, 5).image_id, expected.image_id)


def test_a_database_that_lacks_features_still_finds_the_others(changed: Changed, small: SmallIndex) -> None:
    with IndexReader(small.index_dir) as whole:
        expected = whole.feature(3, 5)
    with IndexReader(changed("DELETE FROM features WHERE feature < 4")) as reader:
        assert reader.feature(3, 5) == expected
        with pytest.raises(NotFoundError, match="no feature 2 in the database"):
            reader.feature(3, 2)


def test_too_many_images_stay_where_they_are(small: SmallIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scopeview.store.images.MAX_ROWS_IN_MEMORY", N_IMAGES - 1)
    with IndexReader(small.index_dir) as reader:
        reader.warm()
        monkeypatch.setattr(reader, "sql", lambda *_: [])
        assert reader.image_rows([1]) == {}
    assert MAX_ROWS_IN_MEMORY >= 1_000_000


def test_columns_hold_what_each_feature_has(reader: IndexReader) -> None:
    for slot in reader.manifest.slots:
        columns = columns_of(reader, slot)
        for feature in range(N_FEATURES):
            record = reader.feature(slot.layer, feature, slot.token)
            (card,) = columns.cards(slot, [feature], N_IMAGES)
            assert (card.n_active, card.max_activation) == (record.n_active, record.max_activation)
            assert card.top_image_ids == [top.image_id for top in record.top_images[:9]]
            assert card.n_images == N_IMAGES
            known = [top.punsafe for top in record.top_images[:9] if top.punsafe is not None]
            assert card.punsafe == max(known, default=None)


def test_top_images_are_in_order_of_rank_whatever_the_order_of_rows(reader: IndexReader) -> None:
    def backwards(sql: str, values: dict[str, Any]) -> dict[str, Any]:
        answer = reader.columns(sql, values)
        return {name: column[::-1] for name, column in answer.items()} if "rank" in answer else answer

    turned = read_columns(backwards, CLS, N_FEATURES, read_punsafe(reader.columns, N_IMAGES))
    assert np.array_equal(turned.top, columns_of(reader, CLS).top)


def test_a_feature_that_is_missing_in_the_database_is_in_no_answer(changed: Changed) -> None:
    with IndexReader(changed("DELETE FROM features WHERE feature IN (4, 95)")) as reader:
        assert list(reader.cards(CLS, [3, 4, 5, 95])) == [3, 5]
        found = reader.gallery(CLS, min_images=0, limit=N_FEATURES)
        assert [card.feature for card in found.cards] == [at for at in range(N_FEATURES) if at not in (4, 95)]


def test_the_nearest_live_feature_is_found_from_anywhere(reader: IndexReader) -> None:
    columns = columns_of(reader, CLS)
    live = np.flatnonzero(columns.n_active > 0).tolist()
    for feature in range(-1, N_FEATURES + 1):
        assert columns.neighbor(feature, forward=True) == next((at for at in live if at > feature), None)
        below = [at for at in live if at < feature]
        assert columns.neighbor(feature, forward=False) == (below[-1] if below else None)


def test_ends_belong_to_a_range_and_nan_to_none_with_an_end() -> None:
    values = np.array([0.1, 0.2, 0.3, np.nan], dtype=np.float32)
    assert in_range(values, None, None).tolist() == [True, True, True, True]
    assert in_range(values, float(values[1]), None).tolist() == [False, True, True, False]
    assert in_range(values, None, float(values[1])).tolist() == [True, True, False, False]


def test_a_database_that_lacks_codes_still_finds_the_others(changed: Changed, small: SmallIndex) -> None:
    with IndexReader(small.index_dir) as whole:
        expected = [whole.codes(image_id) for image_id in range(N_IMAGES)]
    lost = "DELETE FROM codes WHERE image_id = 2 AND token = 'cls' OR image_id = 5"
    with IndexReader(changed(lost)) as reader:
        found = [reader.codes(image_id) for image_id in range(-1, N_IMAGES + 1)]
    assert found[0] == found[-1] == found[6] == {}
    assert found[3] == {slot: code for slot, code in expected[2].items() if slot.token != "cls"}
    for image_id in {*range(N_IMAGES)} - {2, 5}:
        assert found[image_id + 1] == expected[image_id]
