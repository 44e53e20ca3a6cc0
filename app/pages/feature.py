"""`/{index}/{layer}/{feature}`: one feature at one token, with the images that fire it."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.api.answers import provenance
from app.api.models import ProvenanceOut
from app.formatting import fraction, heat, safe_link, short, token_words
from app.pages.frame import URLS, Link, frame_for
from app.pages.paging import Paging, paged
from app.pages.parts import Bar, FeatureView, PictureView, bar, feature_view, mark_at, picture_of
from app.pages.render import Page, render
from app.params import FeaturePath, IndexDep, PageQuery, SlotDep
from app.site import OpenIndex
from scopeview.errors import NotFoundError
from scopeview.slots import Layer, Slot, Token
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, TopImage

IMAGES_PER_PAGE = 24

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class RankedView:
    """One image at its rank."""

    rank: int
    image_id: int
    picture: PictureView
    bar: Bar  # as a part of the feature's maximum
    caption: str  # one line
    place: str | None  # where the maximum is, for the token `any`
    source: str | None  # http or https


@dataclass(frozen=True)
class BinView:
    """One bar of the histogram."""

    low: float
    high: float
    count: int
    height: float  # 0 to 1, as a part of the fullest bin, on a square-root scale
    step: int  # of the activation colours


@dataclass(frozen=True)
class TokenView:
    """The same feature at another token."""

    token: str
    url: str
    current: bool
    n_active: int
    density: float


@dataclass(frozen=True)
class FeaturePage(Page):
    template = "feature.html"
    blocks = frozenset({"more"})

    feature: FeatureView  # its name, URL, counts and density
    record: FeatureRecord  # the figures, exact
    token_words: str  # what its token is
    grid: list[PictureView]  # the nine highest, each a link; empty below nine images
    bins: list[BinView]  # empty when it never fires
    tokens: list[TokenView]  # this layer's tokens, this one among them
    previous: Link | None  # the nearest live features
    following: Link | None
    gallery: Link
    images: list[RankedView]  # by rank, of this page
    paging: Paging
    provenance: ProvenanceOut


@router.get("/{index}/{layer}/{feature}", name="feature")
def feature_page(
    request: Request, index: IndexDep, slot: SlotDep, feature: FeaturePath, page: PageQuery = 1
) -> HTMLResponse:
    return render(request, _page(index, slot, feature, page))


def _page(index: OpenIndex, slot: Slot, feature: int, page: int) -> FeaturePage:
    record = index.reader.feature(slot.layer, feature, slot.token)
    paging = paged(page, record.n_active, IMAGES_PER_PAGE, lambda at: _url(index, slot, feature, at))
    offset = (page - 1) * IMAGES_PER_PAGE
    images = index.reader.activating_images(slot, feature, limit=IMAGES_PER_PAGE, offset=offset)
    highest = record.top_images[:MIN_GRID_IMAGES]
    rows = index.reader.image_rows([top.image_id for top in highest])
    view = feature_view(index, record, rows, list(rows))
    json_url = URLS.feature(index.slug, slot.layer, feature, slot.token, api=True)
    return FeaturePage(
        frame=frame_for(
            index,
            view.name,
            layer=slot.layer,
            token=slot.token,
            link=lambda layer, token: _at_other_layer(index, layer, feature, token),
            json_url=json_url,
        ),
        feature=view,
        record=record,
        token_words=token_words(slot.layer, slot.token, index.manifest.model.grid_size),
        grid=[_picture(index, slot, top) for top in highest],
        bins=_bins(record),
        tokens=_tokens(index, slot, feature),
        previous=_neighbor(index, slot, feature, forward=False),
        following=_neighbor(index, slot, feature, forward=True),
        gallery=Link("gallery", URLS.gallery(index.slug, slot.layer, token=slot.token)),
        images=[_ranked(index, slot, record, top) for top in images],
        paging=paging,
        provenance=provenance(index.manifest, slot.layer),
    )


def _url(index: OpenIndex, slot: Slot, feature: int, page: int) -> str:
    return URLS.feature(index.slug, slot.layer, feature, slot.token, page=page if page > 1 else None)


def _at_other_layer(index: OpenIndex, layer: Layer, feature: int, token: Token | None) -> str:
    """The same number there, or the gallery where there is no such number."""
    if feature >= index.n_features(layer):
        return URLS.gallery(index.slug, layer, token=token)
    return URLS.feature(index.slug, layer, feature, token or index.tokens(layer)[0])


def _picture(index: OpenIndex, slot: Slot, top: TopImage) -> PictureView:
    return picture_of(index, top, mark_at(index, slot.token, top.position))


def _ranked(index: OpenIndex, slot: Slot, record: FeatureRecord, top: TopImage) -> RankedView:
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


def _bins(record: FeatureRecord) -> list[BinView]:
    """Heights on a square-root scale, so that a bin of one image is seen beside one of thousands."""
    edges, counts = record.histogram.edges, record.histogram.counts
    fullest = max(counts, default=0)
    return [
        BinView(low, high, count, fraction(count, fullest) ** 0.5, heat(high / edges[-1]))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]


def _tokens(index: OpenIndex, slot: Slot, feature: int) -> list[TokenView]:
    views = []
    for token in index.tokens(slot.layer):
        card = index.reader.cards(Slot(slot.layer, token), [feature]).get(feature)
        if card is None:
            raise NotFoundError(f"layer {slot.layer} has no feature {feature} at {token}")
        url = URLS.feature(index.slug, slot.layer, feature, token)
        views.append(TokenView(token, url, token == slot.token, card.n_active, card.density))
    return views


def _neighbor(index: OpenIndex, slot: Slot, feature: int, *, forward: bool) -> Link | None:
    found = index.reader.live_neighbor(slot, feature, forward=forward)
    if found is None:
        return None
    return Link(str(found), URLS.feature(index.slug, slot.layer, found, slot.token))
