"""Questions about a whole slot, against the dense tables the index was written from."""

from scopeview.store.reader import IndexReader
from tests.app.index import N_IMAGES, SmallIndex


def test_density_bins_count_each_live_feature_once(reader: IndexReader, small: SmallIndex) -> None:
    for slot in reader.manifest.slots:
        n_active = (small.dense[slot] > 0).sum(axis=0)
        bins = reader.density_bins(slot)
        assert sum(each.n_features for each in bins) == (n_active > 0).sum()
        for each in bins:
            assert each.n_features == ((n_active >= each.low) & (n_active <= each.high)).sum()


def test_density_bins_double_and_cover_one_image_to_all(reader: IndexReader) -> None:
    bins = reader.density_bins(reader.manifest.slots[0])
    assert [each.low for each in bins] == [1, 2, 4, 8, 16, 32, 64]
    assert [each.high for each in bins] == [1, 3, 7, 15, 31, 63, N_IMAGES]
