"""A feature's images by rank and by activation range, near-duplicates folded into the first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.formatting import safe_link, short
from app.pages.cards import RankedView, bar, image_view, mark_at
from app.pages.feature.url_state import FeatureUrl
from app.pages.layout import Link
from app.pages.paging import Paging, paged
from app.services.feature_details import FeatureDetails
from app.state import OpenIndex
from scopeview.slots import Slot
from scopeview.store.records import FeatureRecord, TopImage

IMAGES_PER_PAGE = 20
"""As many as an index stores of every feature, so that the first page needs no more queries."""


@dataclass(frozen=True)
class FoldedImageView:
    """An image with those of lower rank that nearly duplicate it."""

    first: RankedView
    alike: list[RankedView] = field(default_factory=list)


@dataclass(frozen=True)
class RankingView:
    """One page of all images on which a feature fires."""

    groups: list[FoldedImageView]  # by rank
    paging: Paging
    n_alike: int  # of the highest images, those that nearly duplicate a higher one
    folding: Link | None  # the page with them shown each, or folded; None where there are none


def highest(index: OpenIndex, details: FeatureDetails) -> list[RankedView]:
    """Returns the images that the index stores of the feature: a page shows them in several places."""
    return [ranked(index, details.slot, details.record, top) for top in details.record.top_images]


def ranking(
    index: OpenIndex, details: FeatureDetails, state: FeatureUrl, page: int, stored: Sequence[RankedView]
) -> RankingView:
    """Returns a page of the ranking; `stored` is from `highest`. Raises a 422 for a page past the last."""
    slot, record = details.slot, details.record
    paging = paged(
        page, record.n_active, IMAGES_PER_PAGE, lambda at: state.url(index, slot, record.feature, page=at)
    )
    views = _of_page(index, details, page, stored)
    folds = details.description.folds if details.description else []
    return RankingView(
        groups=grouped(views, folds_of(details, state)),
        paging=paging,
        n_alike=sum(first < rank for rank, first in enumerate(folds, start=1)),
        folding=_folding(index, details, state),
    )


def _of_page(
    index: OpenIndex, details: FeatureDetails, page: int, stored: Sequence[RankedView]
) -> Sequence[RankedView]:
    slot, record = details.slot, details.record
    n_wanted = min(IMAGES_PER_PAGE, record.n_active)
    if page == 1 and len(stored) >= n_wanted:
        return stored[:n_wanted]
    found = index.reader.activating_images(
        slot, record.feature, limit=IMAGES_PER_PAGE, offset=(page - 1) * IMAGES_PER_PAGE
    )
    return [ranked(index, slot, record, top) for top in found]


def ranked(index: OpenIndex, slot: Slot, record: FeatureRecord, top: TopImage) -> RankedView:
    mark = mark_at(index, slot.token, top.position)
    at_cls = top.position == 0
    return RankedView(
        rank=top.rank,
        image_id=top.image_id,
        image=image_view(index, top, mark),
        bar=bar(top.activation, record.max_activation),
        caption=short(top.caption),
        place="CLS" if at_cls else mark.words if mark and top.position is not None else None,
        source=safe_link(top.source_url),
    )


def grouped(images: Sequence[RankedView], folds: Sequence[int]) -> list[FoldedImageView]:
    """Groups images by rank. `folds` is as in `Description`; if empty, nothing is folded.

    An image folds only into one of these images; a near-duplicate of a folded one goes where that went.
    """
    groups: dict[int, FoldedImageView] = {}
    for image in images:
        head = _head(image.rank, folds)
        if head in groups:
            groups[head].alike.append(image)
        else:
            groups[head] = FoldedImageView(image)
    return list(groups.values())


def folds_of(details: FeatureDetails, state: FeatureUrl) -> list[int]:
    """Returns the folds; empty if nothing is to be folded."""
    return details.description.folds if details.description and state.alike == "fold" else []


def _head(rank: int, folds: Sequence[int]) -> int:
    while rank <= len(folds) and folds[rank - 1] < rank:
        rank = folds[rank - 1]
    return rank


def _folding(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> Link | None:
    folds = details.description.folds if details.description else []
    if all(first == rank for rank, first in enumerate(folds, start=1)):
        return None
    if state.alike == "fold":
        return Link("show separately", state.url(index, details.slot, details.record.feature, alike="show"))
    return Link("collapse", state.url(index, details.slot, details.record.feature, alike="fold"))


@dataclass(frozen=True)
class IntervalView:
    """One of the equal slices of (0, max]: low < activation <= high."""

    low: float
    high: float
    n_images: int
    of_firing: float  # n_images / images on which it fires
    of_all: float  # n_images / images in the index
    images: list[RankedView]  # an even sample of them


def intervals(index: OpenIndex, details: FeatureDetails) -> list[IntervalView]:
    """Returns the intervals, highest first; empty if the feature never fires."""
    record = details.record
    return [
        IntervalView(
            low=each.low,
            high=each.high,
            n_images=each.n_images,
            of_firing=each.n_images / record.n_active,
            of_all=each.n_images / record.n_images,
            images=[ranked(index, details.slot, record, top) for top in each.images],
        )
        for each in details.intervals
    ]
