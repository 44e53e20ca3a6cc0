"""Questions that start from an image, against the dense tables the index was written from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.errors import NotFoundError
from scopeview.slots import Slot
from scopeview.store.files import shard_dir
from scopeview.store.reader import IndexReader
from tests.app.index import N_IMAGES, K, SmallIndex
from tests.scopeview.store.conftest import Changed


def test_an_image_has_its_code_at_every_slot_strongest_first(reader: IndexReader, small: SmallIndex) -> None:
    for image_id in range(N_IMAGES):
        record = reader.image(image_id)
        assert record.row.image_id == image_id
        assert [Slot(code.layer, code.token) for code in record.codes] == reader.manifest.slots
        for code in record.codes:
            row = small.dense[Slot(code.layer, code.token)][image_id]
            expected = sorted(np.flatnonzero(row > 0).tolist(), key=lambda feature: (-row[feature], feature))
            assert [active.feature for active in code.features] == expected[:K]
            assert [active.activation for active in code.features] == row[expected[:K]].tolist()
            assert code.n_active == len(expected)
            assert all((active.position is None) == (code.token != "any") for active in code.features)


@pytest.mark.parametrize("image_id", [-1, N_IMAGES, 2**31, 10**40])
def test_an_unknown_image_is_told_the_last_one(reader: IndexReader, image_id: int) -> None:
    message = f"tiny has no image {image_id}; it has 0 to 63$"
    with pytest.raises(NotFoundError, match=message):
        reader.image(image_id)
    with pytest.raises(NotFoundError, match=message):
        reader.thumb(image_id)
    assert reader.image_rows([image_id]) == {}


def test_images_are_paged_by_the_last_id_seen(reader: IndexReader) -> None:
    @given(st.integers(-1, N_IMAGES + 5), st.integers(1, N_IMAGES + 5))
    def holds(after: int, limit: int) -> None:
        found = [row.image_id for row in reader.images(limit=limit, after=after)]
        assert found == [*range(N_IMAGES)][after + 1 : after + 1 + limit]

    holds()


def test_images_after_no_image_begin_at_the_first(reader: IndexReader) -> None:
    assert reader.images(after=-10, limit=2) == reader.images(limit=2)
    assert reader.images(after=10**12) == []


def test_rows_come_in_the_order_asked_and_each_once(reader: IndexReader) -> None:
    @given(st.lists(st.integers(-3, N_IMAGES + 3)))
    def holds(ids: list[int]) -> None:
        rows = reader.image_rows(ids)
        assert list(rows) == [image_id for image_id in dict.fromkeys(ids) if 0 <= image_id < N_IMAGES]
        assert all(row.image_id == image_id for image_id, row in rows.items())

    holds()


def test_a_thumbnail_is_the_blob_of_its_shard_row(reader: IndexReader) -> None:
    thumbs = [reader.thumb(image_id) for image_id in range(N_IMAGES)]
    assert all(thumb.startswith(b"RIFF") for thumb in thumbs)
    assert len(set(thumbs)) == N_IMAGES


def test_embeddings_follow_the_image_ids_over_all_shards(changed: Changed) -> None:
    index_dir = changed("UPDATE images SET shard = 2, shard_row = image_id - 40 WHERE image_id >= 40")
    parts = [
        np.full((40, 32), 1, np.float16),
        np.empty((0, 32), np.float16),
        np.full((24, 32), 2, np.float16),
    ]
    for shard, part in enumerate(parts):
        shard_dir(index_dir, shard).mkdir(parents=True, exist_ok=True)
        np.save(shard_dir(index_dir, shard) / "embeddings.npy", part)
    with IndexReader(index_dir) as reader:
        embeddings = reader.embeddings()
    assert embeddings.shape == (N_IMAGES, 32)
    assert embeddings[:, 0].tolist() == [1] * 40 + [2] * 24
