"""Features side by side: their records, and which of their top nine images they share.

Knows no HTML, no JSON and no URL.
"""

from dataclasses import dataclass
from itertools import combinations

from app.params.compare_params import ComparedFeature
from app.state import OpenIndex
from scopeview.store.records import MIN_GRID_IMAGES, Description, FeatureRecord, ImageRow


@dataclass(frozen=True)
class FeatureEntry:
    """One feature with all that is shown of it."""

    chosen: ComparedFeature
    record: FeatureRecord
    description: Description | None

    @property
    def nine(self) -> list[int]:
        """The ids of its top nine images, fewer if it fires on fewer."""
        return [top.image_id for top in self.record.top_images[:MIN_GRID_IMAGES]]


@dataclass(frozen=True)
class FeaturePair:
    """Two features, by their places in the comparison, and the images in the top nine of both."""

    one: int
    other: int
    shared: list[int]  # image ids, by rank of the first
    n_compared: int  # the most that could be shared


@dataclass(frozen=True)
class FeatureComparison:
    """The compared features, in the order of the URL."""

    features: list[FeatureEntry]
    pairs: list[FeaturePair]  # every two, in order
    rows: dict[int, ImageRow]  # the nine highest images of each, by id


def compare(index: OpenIndex, chosen: list[ComparedFeature]) -> FeatureComparison:
    features = [_compared(index, each) for each in chosen]
    ids = {image_id for each in features for image_id in each.nine}
    return FeatureComparison(features, pairs_of(features), index.reader.image_rows(sorted(ids)))


def pairs_of(features: list[FeatureEntry]) -> list[FeaturePair]:
    return [
        FeaturePair(i, j, shared_of(one.nine, other.nine), min(len(one.nine), len(other.nine)))
        for (i, one), (j, other) in combinations(enumerate(features), 2)
    ]


def shared_of(one: list[int], other: list[int]) -> list[int]:
    return [image_id for image_id in one if image_id in other]


def _compared(index: OpenIndex, chosen: ComparedFeature) -> FeatureEntry:
    slot = chosen.slot
    record = index.reader.feature(slot.layer, chosen.feature, slot.token)
    return FeatureEntry(chosen, record, index.reader.description(slot, chosen.feature))
