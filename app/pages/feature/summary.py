"""A feature's summary, the same on its page and in its embedded view. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.formatting import token_words
from app.pages.cards import FeatureView, RankedView, feature_view
from app.pages.feature.images import FoldedImageView, folds_of, grouped
from app.pages.feature.metrics import Metric, metrics
from app.pages.feature.url_state import FeatureUrl
from app.services.feature_details import FeatureDetails, Provenance, provenance
from app.state import OpenIndex
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, Name


@dataclass(frozen=True)
class SummaryView:
    """Names, metrics and top nine images."""

    feature: FeatureView  # its name, URL, counts and density
    record: FeatureRecord  # the figures, exact
    names: list[Name]  # best first
    token_words: str  # what its token is
    metrics: list[Metric]  # its figures, explained
    grid: list[FoldedImageView]  # the nine highest, each unlike the others where near-duplicates are folded
    provenance: Provenance


def summary_view(
    index: OpenIndex, details: FeatureDetails, state: FeatureUrl, stored: Sequence[RankedView]
) -> SummaryView:
    """Builds the summary; `stored` is from `images.highest`."""
    slot, record = details.slot, details.record
    return SummaryView(
        feature=own_feature_view(index, details),
        record=record,
        names=details.description.names if details.description else [],
        token_words=token_words(slot.layer, slot.token, index.manifest.model.grid_size),
        metrics=metrics(details),
        grid=grouped(stored, folds_of(details, state))[:MIN_GRID_IMAGES],
        provenance=provenance(index.manifest, slot.layer),
    )


def own_feature_view(index: OpenIndex, details: FeatureDetails) -> FeatureView:
    """Returns the feature's view, as for the features beside it."""
    nine = [top.image_id for top in details.record.top_images[:MIN_GRID_IMAGES]]
    return feature_view(index, details.record, details.rows, nine)
