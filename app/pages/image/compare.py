"""`.../compare?with=`: a picture beside another one: features of both, and of one alone, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from app.api.uploads import PRIVATE
from app.formatting import layer_name, token_name
from app.pages.cards import FeatureView, PictureView
from app.pages.image.activations import caching
from app.pages.image.active_features import Cards, read_cards, view_of
from app.pages.image.header import HeaderView, header_view, picture_view
from app.pages.image.image_ref import At, Pictured, PicturedDep, other_picture
from app.pages.image.overview import picture_frame
from app.pages.image_slots import Shown, shown
from app.pages.layout import Frame, Link
from app.pages.render import Page, render
from app.params.common import IndexDep, SiteDep, TokenQuery
from app.params.view_params import LayerQuery
from app.services.compare_images import CodeOverlap, Shared, code_overlaps
from app.state import AppState, OpenIndex
from scopeview.store.records import ActiveFeature

PREVIEW_COUNT = 4
"""Features shown of each kind while all layers are."""

WithQuery = Query(alias="with", max_length=40, description="number of an image, or id of an upload")

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class BothView:
    """A feature that fires on both."""

    feature: FeatureView  # its bar is its activation here
    there: float


@dataclass(frozen=True)
class SidesView:
    """One layer."""

    name: str
    token: str
    url: str | None  # this layer alone; None where it is
    likeness: float  # features of both / features of either
    n_shared: int
    n_one: int
    n_other: int
    shared: list[BothView]
    one: list[FeatureView]
    other: list[FeatureView]


@dataclass(frozen=True)
class OtherView:
    """The picture that stands beside."""

    title: str
    text: str  # as the address has it
    picture: PictureView
    swapped: str  # the comparison seen from there


@dataclass(frozen=True)
class VersusPage(Page):
    template = "image/compare.html"

    subject: HeaderView
    other: OtherView | None  # None: none is chosen yet
    sides: list[SidesView]
    all_layers: str | None  # where one layer is shown alone
    why_nothing: str | None  # why there is nothing to compare
    similar: Link  # where to find another one
    action: str
    hidden: dict[str, str]


@router.get("/{index}/{kind}/{picture}/compare", name="apart_compare")
def compare(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    pictured: PicturedDep,
    other: Annotated[str, WithQuery] = "",
    layer: LayerQuery = None,
    token: TokenQuery = None,
) -> Response:
    beside = other_picture(site, index, other.strip()) if other.strip() else None
    page = _page(request, site, index, pictured, beside, shown(index, layer, token))
    private = pictured.upload or (beside and beside.upload)
    return render(request, page, headers=PRIVATE if private else caching(pictured))


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    pictured: Pictured,
    beside: Pictured | None,
    what: Shown,
) -> VersusPage:
    found = _sides(index, pictured, beside, what) if beside else []
    text = str(beside.at.picture) if beside else ""
    query: dict[str, Any] = {"with": text or None}
    return VersusPage(
        frame=_frame(index, pictured, beside, what),
        subject=header_view(request, site, index, pictured, "compare", layer=what.layer),
        other=_other(index, pictured, beside, what) if beside else None,
        sides=[_view(index, pictured.at, beside.at, each, what) for each in found] if beside else [],
        all_layers=pictured.at.url("compare", **query, token=what.token) if what.layer is not None else None,
        why_nothing=_why_nothing(beside, found),
        similar=Link("similar images", pictured.at.url("similar")),
        action=pictured.at.url("compare"),
        hidden={"token": what.token} | ({} if what.layer is None else {"layer": str(what.layer)}),
    )


def _why_nothing(beside: Pictured | None, found: Sequence[CodeOverlap]) -> str | None:
    if beside is None or found:
        return None
    return "the index was rebuilt after one of the images was uploaded; its stored features no longer match"


def _sides(index: OpenIndex, one: Pictured, other: Pictured, what: Shown) -> list[CodeOverlap]:
    return code_overlaps(one.subject.codes, other.subject.codes, index.slots_at(what.token, what.layer))


def _frame(index: OpenIndex, pictured: Pictured, beside: Pictured | None, what: Shown) -> Frame:
    at, text = pictured.at, str(beside.at.picture) if beside else None

    def url(**query: Any) -> str:
        return at.url("compare", **{"with": text, **query})

    title = f"{at.name} and {beside.at.name}" if beside else f"compare {at.name}"
    frame = picture_frame(index, title, what, url)
    return frame if beside else replace(frame, json_url=None)


def _other(index: OpenIndex, pictured: Pictured, beside: Pictured, what: Shown) -> OtherView:
    back: dict[str, Any] = {"with": str(pictured.at.picture), "layer": what.layer, "token": what.token}
    return OtherView(
        title=beside.at.name.capitalize(),
        text=str(beside.at.picture),
        picture=picture_view(index, beside),
        swapped=beside.at.url("compare", **back),
    )


def _view(index: OpenIndex, at: At, there: At, found: CodeOverlap, what: Shown) -> SidesView:
    most = None if what.layer is not None else PREVIEW_COUNT
    shared, one, other = found.shared[:most], found.one[:most], found.other[:most]
    numbers = [pair.one.feature for pair in shared] + [pair.feature for pair in [*one, *other]]
    cards = read_cards(index, found.slot, numbers, with_histograms=False)
    beside: dict[str, Any] = {"with": str(there.picture)}
    url = at.url("compare", **beside, layer=found.slot.layer, token=what.token)
    return SidesView(
        name=layer_name(found.slot.layer),
        token=token_name(found.slot.token),
        url=None if what.layer is not None else url,
        likeness=found.likeness,
        n_shared=len(found.shared),
        n_one=len(found.one),
        n_other=len(found.other),
        shared=[_both(index, at, cards, pair) for pair in shared if pair.one.feature in cards.cards],
        one=_alone(index, at, cards, one),
        other=_alone(index, there, cards, other),
    )


def _both(index: OpenIndex, at: At, cards: Cards, pair: Shared) -> BothView:
    return BothView(view_of(index, at, cards, pair.one.feature, pair.one), pair.other.activation)


def _alone(index: OpenIndex, at: At, cards: Cards, found: Sequence[ActiveFeature]) -> list[FeatureView]:
    return [view_of(index, at, cards, pair.feature, pair) for pair in found if pair.feature in cards.cards]
