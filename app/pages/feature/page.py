"""The route of a feature's page, and the page put together from its parts."""

from dataclasses import dataclass
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import feature_name
from app.pages.cards import FeatureView, feature_views
from app.pages.feature.embed import EmbedPage
from app.pages.feature.heatmap import FeatureHeatmapView, heat_view
from app.pages.feature.histogram import HistogramView, histogram
from app.pages.feature.images import RankingView, highest, ranking
from app.pages.feature.intervals import IntervalView, intervals
from app.pages.feature.neighbors import KindView, Lineage, kinds, lineage
from app.pages.feature.pinned_image import (
    ImageQuery,
    PinnedImage,
    PinnedImageView,
    UploadQuery,
    pinned_image_view,
    read_pinned_image,
)
from app.pages.feature.positions import PositionsView, positions, why_no_positions
from app.pages.feature.share import ShareView, sharing
from app.pages.feature.summary import SummaryView, intro
from app.pages.feature.tokens import TokenView, tokens
from app.pages.feature.url_state import (
    Alike,
    AlikeQuery,
    EmbedQuery,
    FeatureUrl,
    NearQuery,
    Scale,
    ScaleQuery,
)
from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page, base_url_of, render, wanted_block
from app.pages.social_card import preview_of_feature
from app.params.common import FeaturePath, IndexDep, PageQuery, SiteDep, SlotDep
from app.services.feature_details import FeatureDetails, indexed, read_feature_details
from app.state import AppState, OpenIndex
from app.urls import URLS
from app.web.caching import PRIVATE
from app.web.security import EMBEDDABLE
from scopeview.slots import Slot

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class FeaturePage(Page):
    template = "feature.html"
    for_everyone = True
    blocks = frozenset({"more", "near"})

    intro: SummaryView
    pinned_image: PinnedImageView | None  # the picture from which one came
    described: bool  # whether the index says more than counts
    heat: FeatureHeatmapView  # of every picture here
    histogram: HistogramView | None  # None when it never fires
    positions: PositionsView | None
    why_no_positions: str  # where there are none
    tokens: list[TokenView]  # this layer's tokens, this one among them
    ranking: RankingView  # all its images
    intervals: list[IntervalView]  # highest first
    near_url: str | None  # where neighbours are told; None: they are told here, or there are none
    kinds: list[KindView]  # neighbours in the layer
    lineage: Lineage | None  # neighbours in other layers
    previous: Link | None  # the nearest live features
    following: Link | None
    alive: list[FeatureView]  # the same two, with their pictures, where this one never fires
    gallery: Link
    share: ShareView


@dataclass(frozen=True)
class NearPiece(Page):
    """Of a feature's page the neighbours alone, as htmx takes them."""

    template = "feature.html"
    always = "near"
    for_everyone = True

    near_url: str | None
    kinds: list[KindView]
    lineage: Lineage | None


@router.get("/{index}/{layer}/{feature}", name="feature")
async def feature_page(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    slot: SlotDep,
    feature: FeaturePath,
    image: ImageQuery = None,
    upload: UploadQuery = None,
    page: PageQuery = 1,
    scale: ScaleQuery = "log",
    alike: AlikeQuery = "fold",
    embed: EmbedQuery = "0",
    near: NearQuery = "0",
) -> HTMLResponse:
    """Neighbours are a third of a page, and its end: they come when one scrolls there, or follows a link."""
    pinned = await read_pinned_image(request, site, index, slot, feature, image, upload)
    asked = _Asked(page, scale, alike, embed == "1", near == "1")
    return await run_in_threadpool(_answer, request, site, index, slot, feature, pinned, asked)


class _Asked(NamedTuple):
    """By the query."""

    page: int
    scale: Scale
    alike: Alike
    embed: bool
    near: bool


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    slot: Slot,
    feature: int,
    pinned: PinnedImage | None,
    asked: _Asked,
) -> HTMLResponse:
    sheet = read_feature_details(index, slot, feature, near=asked.near)
    state = FeatureUrl(asked.scale, asked.alike, pinned.image.address.pinned if pinned else {})
    if asked.embed:
        view = EmbedPage(_frame(index, sheet, state), intro(index, sheet, state, highest(index, sheet)))
        return render(request, view, headers={"Content-Security-Policy": EMBEDDABLE})
    headers = PRIVATE if pinned and pinned.is_fleeting else None
    if wanted_block(request, FeaturePage) == "near":
        return render(request, _near_piece(index, sheet, state, asked), headers=headers)
    found = _page(site, index, sheet, state, asked, base_url_of(request), pinned)
    return render(request, found, headers=headers)


def _page(
    site: AppState,
    index: OpenIndex,
    sheet: FeatureDetails,
    state: FeatureUrl,
    asked: _Asked,
    base_url: str,
    pinned: PinnedImage | None,
) -> FeaturePage:
    slot, stored = sheet.slot, highest(index, sheet)
    introduced = intro(index, sheet, state, stored)
    return FeaturePage(
        frame=_frame(index, sheet, state),
        intro=introduced,
        pinned_image=pinned_image_view(index, slot, sheet.record, pinned),
        described=sheet.description is not None,
        heat=heat_view(site, index, sheet),
        histogram=histogram(index, sheet, state),
        positions=positions(index, sheet),
        why_no_positions=why_no_positions(index, sheet),
        tokens=tokens(index, sheet, state),
        ranking=ranking(index, sheet, state, asked.page, stored),
        intervals=intervals(index, sheet),
        near_url=_near_url(index, sheet, state, asked),
        kinds=kinds(index, sheet, state),
        lineage=lineage(index, sheet, state),
        previous=_live(index, sheet, sheet.previous, state),
        following=_live(index, sheet, sheet.following, state),
        alive=[] if sheet.record.n_active else _alive(index, sheet, state),
        gallery=Link("gallery", URLS.gallery(index.slug, slot.layer, token=slot.token)),
        share=sharing(index, sheet, introduced.provenance, base_url),
    )


def _frame(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl) -> Frame:
    slot, feature = sheet.slot, sheet.record.feature
    return frame_for(
        index,
        feature_name(slot.layer, feature),
        layer=slot.layer,
        token=slot.token,
        link=lambda layer, token: state.elsewhere(index, layer, feature, token),
        json_url=URLS.feature(index.slug, slot.layer, feature, slot.token, api=True),
        preview=preview_of_feature(index, slot, sheet.record, sheet.description),
    )


def _near_piece(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl, asked: _Asked) -> NearPiece:
    return NearPiece(
        frame=_frame(index, sheet, state),
        near_url=_near_url(index, sheet, state, asked),
        kinds=kinds(index, sheet, state),
        lineage=lineage(index, sheet, state),
    )


def _near_url(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl, asked: _Asked) -> str | None:
    """None where they are told already, or nothing is known to resemble it."""
    described = sheet.description
    if asked.near or described is None or not indexed(index, [*described.within, *described.across]):
        return None
    return state.url(index, sheet.slot, sheet.record.feature, near=True)


def _live(index: OpenIndex, sheet: FeatureDetails, feature: int | None, state: FeatureUrl) -> Link | None:
    return None if feature is None else Link(str(feature), state.url(index, sheet.slot, feature))


def _alive(index: OpenIndex, sheet: FeatureDetails, state: FeatureUrl) -> list[FeatureView]:
    """The nearest features that do fire."""
    near = [feature for feature in (sheet.previous, sheet.following) if feature is not None]
    cards = index.reader.cards(sheet.slot, near).values()
    return [
        view._replace(url=state.pinned_url(index, sheet.slot, card.feature))
        for view, card in zip(feature_views(index, cards), cards, strict=True)
    ]
