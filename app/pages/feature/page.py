"""The route of a feature's page, and the page assembled from its sections."""

from dataclasses import dataclass
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import feature_name
from app.pages.cards import FeatureView, feature_views
from app.pages.feature.heatmap import FeatureHeatmapView, heat_view
from app.pages.feature.histogram import HistogramView, histogram
from app.pages.feature.images import IntervalView, RankingView, highest, intervals, ranking
from app.pages.feature.neighbors import AcrossLayers, KindView, across_layers, kinds
from app.pages.feature.pinned_image import (
    ImageQuery,
    PinnedImage,
    PinnedImageView,
    UploadQuery,
    pinned_image_view,
    read_pinned_image,
)
from app.pages.feature.positions import PositionsView, positions, why_no_positions
from app.pages.feature.share import ShareView, share_view
from app.pages.feature.summary import SummaryView, summary_view
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
from app.params.dependencies import FeaturePath, IndexDep, PageQuery, SiteDep, SlotDep
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

    summary: SummaryView
    pinned_image: PinnedImageView | None  # the image from which one came
    described: bool  # whether the index says more than counts
    heat: FeatureHeatmapView  # of every image here
    histogram: HistogramView | None  # None when it never fires
    positions: PositionsView | None
    why_no_positions: str  # where there are none
    tokens: list[TokenView]  # this layer's tokens, this one among them
    ranking: RankingView  # all its images
    intervals: list[IntervalView]  # highest first
    near_url: str | None  # where neighbors are told; None: they are told here, or there are none
    kinds: list[KindView]  # neighbors in the layer
    across_layers: AcrossLayers | None  # neighbors in other layers
    previous: Link | None  # the nearest live features
    following: Link | None
    nearest_active: list[FeatureView]  # the same two, with their images, where this one never fires
    gallery: Link
    share: ShareView


@dataclass(frozen=True)
class EmbedPage(Page):
    template = "feature_embed.html"
    for_everyone = True

    summary: SummaryView


@dataclass(frozen=True)
class NearBlock(Page):
    """The neighbors of a feature's page alone, for htmx."""

    template = "feature.html"
    always = "near"
    for_everyone = True

    near_url: str | None
    kinds: list[KindView]
    across_layers: AcrossLayers | None


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
    """Shows a feature. Its neighbors, the last third of the page, come when one scrolls or follows a link."""
    pinned = await read_pinned_image(request, site, index, slot, feature, image, upload)
    options = _Options(page, scale, alike, embed == "1", near == "1")
    return await run_in_threadpool(_answer, request, site, index, slot, feature, pinned, options)


class _Options(NamedTuple):
    """The parsed query."""

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
    options: _Options,
) -> HTMLResponse:
    details = read_feature_details(index, slot, feature, near=options.near)
    state = FeatureUrl(options.scale, options.alike, pinned.image.address.pinned if pinned else {})
    if options.embed:
        view = EmbedPage(
            _frame(index, details, state), summary_view(index, details, state, highest(index, details))
        )
        return render(request, view, headers={"Content-Security-Policy": EMBEDDABLE})
    headers = PRIVATE if pinned and pinned.is_fleeting else None
    if wanted_block(request, FeaturePage) == "near":
        return render(request, _near_block(index, details, state, options), headers=headers)
    found = _page(site, index, details, state, options, base_url_of(request), pinned)
    return render(request, found, headers=headers)


def _page(
    site: AppState,
    index: OpenIndex,
    details: FeatureDetails,
    state: FeatureUrl,
    options: _Options,
    base_url: str,
    pinned: PinnedImage | None,
) -> FeaturePage:
    slot, stored = details.slot, highest(index, details)
    summary = summary_view(index, details, state, stored)
    return FeaturePage(
        frame=_frame(index, details, state),
        summary=summary,
        pinned_image=pinned_image_view(index, slot, details.record, pinned),
        described=details.description is not None,
        heat=heat_view(site, index, details),
        histogram=histogram(index, details, state),
        positions=positions(index, details),
        why_no_positions=why_no_positions(index, details),
        tokens=tokens(index, details, state),
        ranking=ranking(index, details, state, options.page, stored),
        intervals=intervals(index, details),
        near_url=_near_url(index, details, state, options),
        kinds=kinds(index, details, state),
        across_layers=across_layers(index, details, state),
        previous=_live(index, details, details.previous, state),
        following=_live(index, details, details.following, state),
        nearest_active=[] if details.record.n_active else _alive(index, details, state),
        gallery=Link("gallery", URLS.gallery(index.slug, slot.layer, token=slot.token)),
        share=share_view(index, details, summary.provenance, base_url),
    )


def _frame(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> Frame:
    slot, feature = details.slot, details.record.feature
    return frame_for(
        index,
        feature_name(slot.layer, feature),
        layer=slot.layer,
        token=slot.token,
        link=lambda layer, token: state.elsewhere(index, layer, feature, token),
        json_url=URLS.feature(index.slug, slot.layer, feature, slot.token, api=True),
        preview=preview_of_feature(index, slot, details.record, details.description),
    )


def _near_block(index: OpenIndex, details: FeatureDetails, state: FeatureUrl, options: _Options) -> NearBlock:
    return NearBlock(
        frame=_frame(index, details, state),
        near_url=_near_url(index, details, state, options),
        kinds=kinds(index, details, state),
        across_layers=across_layers(index, details, state),
    )


def _near_url(index: OpenIndex, details: FeatureDetails, state: FeatureUrl, options: _Options) -> str | None:
    """Returns where the neighbors load from; None if they are shown already, or none are known."""
    described = details.description
    if options.near or described is None or not indexed(index, [*described.within, *described.across]):
        return None
    return state.url(index, details.slot, details.record.feature, near=True)


def _live(index: OpenIndex, details: FeatureDetails, feature: int | None, state: FeatureUrl) -> Link | None:
    return None if feature is None else Link(str(feature), state.url(index, details.slot, feature))


def _alive(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> list[FeatureView]:
    """Returns the nearest features that fire."""
    near = [feature for feature in (details.previous, details.following) if feature is not None]
    cards = index.reader.cards(details.slot, near).values()
    return [
        view._replace(url=state.pinned_url(index, details.slot, card.feature))
        for view, card in zip(feature_views(index, cards), cards, strict=True)
    ]
