"""How a feature is introduced, on its page and in its embedded view alike. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.formatting import token_words
from app.pages.cards import FeatureView, RankedView, feature_view
from app.pages.feature.images import FoldedImageView, folds_of, grouped
from app.pages.feature.metrics import Reading, readings
from app.pages.feature.url_state import FeatureUrl
from app.services.feature_details import FeatureDetails, Provenance, provenance
from app.state import OpenIndex
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, Name


@dataclass(frozen=True)
class SummaryView:
    """What it is called, how often it fires, and its nine highest images."""

    feature: FeatureView  # its name, URL, counts and density
    record: FeatureRecord  # the figures, exact
    names: list[Name]  # best first
    token_words: str  # what its token is
    readings: list[Reading]  # its figures, explained
    grid: list[FoldedImageView]  # the nine highest, each unlike the others where near-duplicates are folded
    provenance: Provenance


def intro(
    index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl, stored: Sequence[RankedView]
) -> SummaryView:
    """`stored`: see `images.highest`."""
    slot, record = sheet.slot, sheet.record
    return SummaryView(
        feature=itself(index, sheet),
        record=record,
        names=sheet.description.names if sheet.description else [],
        token_words=token_words(slot.layer, slot.token, index.manifest.model.grid_size),
        readings=readings(sheet),
        grid=grouped(stored, folds_of(sheet, state))[:MIN_GRID_IMAGES],
        provenance=provenance(index.manifest, slot.layer),
    )


def itself(index: OpenIndex, sheet: FeatureDetails) -> FeatureView:
    """The feature as others are shown beside it."""
    nine = [top.image_id for top in sheet.record.top_images[:MIN_GRID_IMAGES]]
    return feature_view(index, sheet.record, sheet.rows, nine)
