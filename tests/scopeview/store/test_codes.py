"""Images whose codes are like a given one, beside a dense twin."""

import numpy as np
import pytest

from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from tests.app.index import N_IMAGES, SmallIndex


@pytest.mark.parametrize("token", ["cls", "any"])
def test_images_are_ranked_by_the_cosine_of_their_codes(
    small: SmallIndex, reader: IndexReader, token: str
) -> None:
    slot = Slot(1, token)
    dense = small.dense[slot].astype(np.float64)
    code = dense[9]
    features = np.flatnonzero(code)
    hits = reader.images_by_code(slot, features.tolist(), code[features].tolist(), limit=N_IMAGES)
    cosines = dense @ code / np.linalg.norm(dense, axis=1) / np.linalg.norm(code)
    wanted = np.lexsort((np.arange(N_IMAGES), -cosines.round(9)))[: len(hits)]
    assert hits[0].number == 9
    assert hits[0].cosine == pytest.approx(1)
    assert [hit.cosine for hit in hits] == pytest.approx(cosines[wanted].tolist())
    assert len(hits) == (cosines > 0).sum()


def test_a_code_in_which_nothing_fires_is_like_nothing(reader: IndexReader) -> None:
    assert reader.images_by_code(Slot(1, "cls"), [1, 2], [0.0, -1.0], limit=5) == []
    assert reader.images_by_code(Slot(1, "cls"), [], [], limit=5) == []


def test_histograms_of_many_features_are_those_of_each(reader: IndexReader) -> None:
    slot = Slot(3, "any")
    found = reader.histograms(slot, range(12))
    for feature, histogram in found.items():
        assert histogram == reader.feature(3, feature, "any").histogram
    assert set(found) == {
        feature for feature in range(12) if reader.feature(3, feature, "any").max_activation is not None
    }
