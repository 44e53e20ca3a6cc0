"""Questions about a whole slot, against the dense tables the index was written from."""

from scopeview.store.reader import IndexReader
from tests.app.index import N_IMAGES, SmallIndex


def test_density_bins_count_each_live_feature_once(reader: IndexReader, small: SmallIndex) -> None:
    for slot in reader.manifest.slots:
        n_active = (small.dense[slot] > 0).sum(axis=0)
        bins = reader.density_bins(slot)
        assert sum(bin.n_features for bin in bins) == (n_active > 0).sum()
        for bin in bins:
            assert bin.n_features == ((n_active >= bin.low) & (n_active <= bin.high)).sum()


def test_density_bins_double_and_cover_one_image_to_all(reader: IndexReader) -> None:
    bins = reader.density_bins(reader.manifest.slots[0])
    assert [bin.low for bin in bins] == [1, 2, 4, 8, 16, 32, 64]
    assert [bin.high for bin in bins] == [1, 3, 7, 15, 31, 63, N_IMAGES]
