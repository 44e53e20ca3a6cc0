"""The images of a feature by rank, near-duplicates folded into the first of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.formatting import safe_link, short
from app.pages.cards import RankedView, bar, mark_at, picture_of
from app.pages.feature.url_state import FeatureUrl
from app.pages.layout import Link
from app.pages.paging import Paging, paged
from app.services.feature_details import FeatureDetails
from app.state import OpenIndex
from scopeview.slots import Slot
from scopeview.store.records import FeatureRecord, TopImage

IMAGES_PER_PAGE = 20
"""As many as an index stores of every feature: the first page asks for nothing more."""


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


def highest(index: OpenIndex, sheet: FeatureDetails) -> list[RankedView]:
    """The images that the index stores of the feature: a page shows them in more than one place."""
    return [ranked(index, sheet.slot, sheet.record, top) for top in sheet.record.top_images]


def ranking(
    index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl, page: int, stored: Sequence[RankedView]
) -> RankingView:
    """`stored`: see `highest`. Raises a 422 for a page past the last."""
    slot, record = sheet.slot, sheet.record
    paging = paged(
        page, record.n_active, IMAGES_PER_PAGE, lambda at: state.url(index, slot, record.feature, page=at)
    )
    views = _of_page(index, sheet, page, stored)
    folds = sheet.description.folds if sheet.description else []
    return RankingView(
        groups=grouped(views, folds_of(sheet, state)),
        paging=paging,
        n_alike=sum(first < rank for rank, first in enumerate(folds, start=1)),
        folding=_folding(index, sheet, state),
    )


def _of_page(
    index: OpenIndex, sheet: FeatureDetails, page: int, stored: Sequence[RankedView]
) -> Sequence[RankedView]:
    slot, record = sheet.slot, sheet.record
    wanted = min(IMAGES_PER_PAGE, record.n_active)
    if page == 1 and len(stored) >= wanted:
        return stored[:wanted]
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
        picture=picture_of(index, top, mark),
        bar=bar(top.activation, record.max_activation),
        caption=short(top.caption),
        place="CLS" if at_cls else mark.words if mark and top.position is not None else None,
        source=safe_link(top.source_url),
    )


def grouped(images: Sequence[RankedView], folds: Sequence[int]) -> list[FoldedImageView]:
    """By rank. `folds` as in `Description`; empty: nothing is folded.

    An image is folded only into one that is here; what nearly duplicates a folded one goes where that went.
    """
    groups: dict[int, FoldedImageView] = {}
    for image in images:
        head = _head(image.rank, folds)
        if head in groups:
            groups[head].alike.append(image)
        else:
            groups[head] = FoldedImageView(image)
    return list(groups.values())


def folds_of(sheet: FeatureDetails, state: FeatureUrl) -> list[int]:
    """Empty where nothing is to be folded."""
    return sheet.description.folds if sheet.description and state.alike == "fold" else []


def _head(rank: int, folds: Sequence[int]) -> int:
    while rank <= len(folds) and folds[rank - 1] < rank:
        rank = folds[rank - 1]
    return rank


def _folding(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl) -> Link | None:
    folds = sheet.description.folds if sheet.description else []
    if all(first == rank for rank, first in enumerate(folds, start=1)):
        return None
    if state.alike == "fold":
        return Link("show separately", state.url(index, sheet.slot, sheet.record.feature, alike="show"))
    return Link("collapse", state.url(index, sheet.slot, sheet.record.feature, alike="fold"))
