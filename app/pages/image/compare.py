"""`.../compare?with=`: two images side by side, their shared features and the others, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from app.formatting import layer_name, token_name
from app.pages.cards import FeatureView, ImageView
from app.pages.image.activations import cache_headers
from app.pages.image.active_features import view_of
from app.pages.image.header import HeaderView, header_view, image_ref_view
from app.pages.image.overview import overview_page_frame
from app.pages.layout import Frame, Link
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, SiteDep, TokenQuery
from app.params.view_params import LayerQuery, OtherImageQuery, SlotFilter, slot_filter
from app.services.compare_images import CodeOverlap, SharedFeature, compare_images
from app.services.feature_cards import FeatureCards, read_cards
from app.services.images import ImageDep, ImageRef, other_image
from app.state import AppState, OpenIndex
from app.urls import ImageAddress
from app.web.caching import PRIVATE
from scopeview.store.records import ActiveFeature

PREVIEW_COUNT = 4
"""Features shown of each kind while the page shows all layers."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class SharedView:
    """A feature that fires on both images."""

    feature: FeatureView  # its bar is its activation here
    there: float


@dataclass(frozen=True)
class OverlapView:
    """The overlap at one layer."""

    name: str
    token: str
    url: str | None  # this layer alone; None where it is
    likeness: float  # features of both / features of either
    n_shared: int
    n_one: int
    n_other: int
    shared: list[SharedView]
    one: list[FeatureView]
    other: list[FeatureView]


@dataclass(frozen=True)
class OtherView:
    """The other image."""

    title: str
    text: str  # as the address has it
    image: ImageView
    swapped: str  # the comparison seen from there


@dataclass(frozen=True)
class ImageComparePage(Page):
    template = "image/compare.html"

    header: HeaderView
    other: OtherView | None  # None: none is chosen yet
    sides: list[OverlapView]
    all_layers: str | None  # where one layer is shown alone
    why_nothing: str | None  # why there is nothing to compare
    similar: Link  # where to find another one
    action: str
    hidden: dict[str, str]


@router.get("/{index}/{kind}/{image_id}/compare", name="image_compare")
def compare(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    text: OtherImageQuery = "",
    layer: LayerQuery = None,
    token: TokenQuery = None,
) -> Response:
    other = other_image(site, index, text.strip()) if text.strip() else None
    page = _page(request, site, index, image, other, slot_filter(index, layer, token))
    private = image.upload or (other and other.upload)
    return render(request, page, headers=PRIVATE if private else cache_headers(image))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    other: ImageRef | None,
    shown: SlotFilter,
) -> ImageComparePage:
    found = compare_images(index, image, other, shown) if other else []
    text = str(other.address.image) if other else ""
    query: dict[str, Any] = {"with": text or None}
    return ImageComparePage(
        frame=_frame(index, image, other, shown),
        header=header_view(request, site, index, image, "compare", layer=shown.layer),
        other=_other(index, image, other, shown) if other else None,
        sides=[_view(index, image.address, other.address, each, shown) for each in found] if other else [],
        all_layers=image.address.url("compare", **query, token=shown.token)
        if shown.layer is not None
        else None,
        why_nothing=_why_nothing(other, found),
        similar=Link("similar images", image.address.url("similar")),
        action=image.address.url("compare"),
        hidden={"token": shown.token} | ({} if shown.layer is None else {"layer": str(shown.layer)}),
    )


def _why_nothing(other: ImageRef | None, found: Sequence[CodeOverlap]) -> str | None:
    if other is None or found:
        return None
    return "the index was rebuilt after one of the images was uploaded; its stored features no longer match"


def _frame(index: OpenIndex, image: ImageRef, other: ImageRef | None, shown: SlotFilter) -> Frame:
    at, text = image.address, str(other.address.image) if other else None

    def url(**query: Any) -> str:
        return at.url("compare", **{"with": text, **query})

    title = f"{at.name} and {other.address.name}" if other else f"compare {at.name}"
    frame = overview_page_frame(index, title, shown, url)
    return frame if other else replace(frame, json_url=None)


def _other(index: OpenIndex, image: ImageRef, other: ImageRef, shown: SlotFilter) -> OtherView:
    back: dict[str, Any] = {"with": str(image.address.image), "layer": shown.layer, "token": shown.token}
    return OtherView(
        title=other.address.name.capitalize(),
        text=str(other.address.image),
        image=image_ref_view(index, other),
        swapped=other.address.url("compare", **back),
    )


def _view(
    index: OpenIndex, at: ImageAddress, there: ImageAddress, found: CodeOverlap, shown: SlotFilter
) -> OverlapView:
    most = None if shown.layer is not None else PREVIEW_COUNT
    shared, one, other = found.shared[:most], found.one[:most], found.other[:most]
    numbers = [pair.one.feature for pair in shared] + [pair.feature for pair in [*one, *other]]
    cards = read_cards(index, found.slot, numbers, with_histograms=False)
    query: dict[str, Any] = {"with": str(there.image)}
    url = at.url("compare", **query, layer=found.slot.layer, token=shown.token)
    return OverlapView(
        name=layer_name(found.slot.layer),
        token=token_name(found.slot.token),
        url=None if shown.layer is not None else url,
        likeness=found.likeness,
        n_shared=len(found.shared),
        n_one=len(found.one),
        n_other=len(found.other),
        shared=[_both(index, at, cards, pair) for pair in shared if pair.one.feature in cards.cards],
        one=_alone(index, at, cards, one),
        other=_alone(index, there, cards, other),
    )


def _both(index: OpenIndex, at: ImageAddress, cards: FeatureCards, pair: SharedFeature) -> SharedView:
    return SharedView(view_of(index, at, cards, pair.one.feature, pair.one), pair.other.activation)


def _alone(
    index: OpenIndex, at: ImageAddress, cards: FeatureCards, found: Sequence[ActiveFeature]
) -> list[FeatureView]:
    return [view_of(index, at, cards, pair.feature, pair) for pair in found if pair.feature in cards.cards]
