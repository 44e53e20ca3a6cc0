"""The chart of densities: heights, words, and which bars the filters show."""

from app.pages.densities import density_bars
from app.params.filters import Filters
from scopeview.store.records import DensityBin

BINS = [DensityBin(1, 1, 4), DensityBin(2, 3, 16), DensityBin(4, 7, 0), DensityBin(8, 8, 1)]


def test_the_fullest_bar_is_as_high_as_the_chart_and_an_empty_one_is_flat() -> None:
    assert [bar.height for bar in density_bars(BINS, 8)] == [0.5, 1.0, 0.0, 0.25]


def test_a_chart_of_nothing_is_flat() -> None:
    assert [bar.height for bar in density_bars([DensityBin(1, 1, 0)], 1)] == [0.0]


def test_a_bar_says_how_many_features_fire_on_how_many_images() -> None:
    assert [bar.words for bar in density_bars(BINS, 8)] == [
        "4 features fire on 1 image (12.5 %)",
        "16 features fire on 2 to 3 images (25.0 to 37.5 %)",
        "0 features fire on 4 to 7 images (50.0 to 87.5 %)",
        "1 feature fires on 8 images (100 %)",
    ]


def test_a_bar_is_inside_where_the_filters_show_some_of_its_features() -> None:
    def inside(filters: Filters) -> list[bool]:
        return [bar.inside for bar in density_bars(BINS, 8, filters)]

    assert inside(Filters(min_images=3)) == [False, True, True, True]
    assert inside(Filters(min_images=0, max_images=3)) == [True, True, False, False]
    assert inside(Filters(min_images=0, min_density=0.5, max_density=0.875)) == [False, False, True, False]


def test_a_bar_leads_to_its_own_features() -> None:
    bars = density_bars(BINS, 8, None, lambda low, high: f"{low}-{high}")
    assert [bar.url for bar in bars] == ["1-1", "2-3", "4-7", "8-8"]
