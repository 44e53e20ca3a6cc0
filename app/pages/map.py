"""`/{index}/{layer}/map`: the features of one slot on a map, similar ones close together."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.pages.cards import FeatureView, feature_views
from app.pages.layout import Link, frame_for, slot_name
from app.pages.plots import PlotView, plot_view
from app.pages.render import Page, render, wanted_block
from app.params.dependencies import IndexDep, Number, SlotDep
from app.params.filters import NameQuery
from app.services.map_points import has_map
from app.state import OpenIndex
from app.urls import URLS
from app.web.errors import listed, unprocessable
from scopeview.slots import ANY, Layer, Slot, Token
from scopeview.store.records import SlotSummary

N_LISTED = 12

Color = Literal["density", "clarity", "name_score", "selectivity"]
COLORS: dict[Color, str] = {
    "density": "density",
    "clarity": "clarity",
    "name_score": "name score",
    "selectivity": "position selectivity",
}
ColorQuery = Annotated[str, Query(description=f"metric that colors the points: {listed(get_args(Color))}")]
PointQuery = Annotated[Number | None, Query(description="the highlighted feature")]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class MapPage(Page):
    template = "map.html"
    for_everyone = True
    blocks = frozenset({"found", "point"})

    name: str  # `L22 · CLS`
    action: str  # where the form goes
    token: str  # of the slot, for the form
    summary: SlotSummary
    plot: PlotView | None  # None where the features have no places
    colors: list[Link]  # what a shade can say; the label is for people, the title the query value
    words: str  # searched for in names; empty for none
    lit_url: str | None  # the features that are found, as JSON; None without words
    found: list[FeatureView]  # the first of them
    n_found: int
    all_found: Link | None  # the gallery of them all
    point: FeatureView | None  # the highlighted feature
    point_number: int | None
    gallery: Link


@dataclass(frozen=True)
class _State:
    """The query of the page."""

    color: Color
    name: str | None
    feature: int | None

    def url(self, index: OpenIndex, layer: Layer, token: Token | None, *, moved: bool = False) -> str:
        """Returns the URL. `moved`: at another layer or token, where the feature's number means another
        one."""
        color = None if self.color == "density" else self.color
        feature = None if moved else self.feature
        return URLS.map(index.slug, layer, token=token, name=self.name, color=color, feature=feature)


@router.get("/{index}/{layer}/map", name="map")
def feature_map(
    request: Request,
    index: IndexDep,
    slot: SlotDep,
    name: NameQuery = None,
    color: ColorQuery = "density",
    feature: PointQuery = None,
) -> HTMLResponse:
    state = _State(_known_color(color), name, feature)
    replaced = {"HX-Replace-Url": state.url(index, slot.layer, slot.token)}
    headers = replaced if wanted_block(request, MapPage) == "found" else None
    return render(request, _page(index, slot, state), headers=headers)


def _page(index: OpenIndex, slot: Slot, state: _State) -> MapPage:
    gallery = (
        index.reader.gallery(slot, sort="score", name=state.name, limit=N_LISTED) if state.name else None
    )
    every = URLS.gallery(index.slug, slot.layer, token=slot.token, name=state.name)
    return MapPage(
        frame=frame_for(
            index,
            f"map of {slot_name(slot)}",
            layer=slot.layer,
            token=slot.token,
            link=lambda layer, token: state.url(index, layer, token, moved=True),
            json_url=URLS.points(index.slug, slot.layer, token=slot.token, name=state.name),
        ),
        name=slot_name(slot),
        action=URLS.map(index.slug, slot.layer),
        token=slot.token,
        summary=index.summaries[slot],
        plot=plot_view(index, slot) if has_map(index, slot) else None,
        colors=_colors(index, state.color),
        words=state.name or "",
        lit_url=URLS.points(index.slug, slot.layer, token=slot.token, name=state.name)
        if state.name
        else None,
        found=feature_views(index, gallery.cards) if gallery else [],
        n_found=gallery.n_matching if gallery else 0,
        all_found=Link("show all in the gallery", every) if gallery else None,
        point=_point(index, slot, state.feature),
        point_number=state.feature,
        gallery=Link("gallery", URLS.gallery(index.slug, slot.layer, token=slot.token)),
    )


def _point(index: OpenIndex, slot: Slot, feature: int | None) -> FeatureView | None:
    if feature is None:
        return None
    cards = index.reader.cards(slot, [feature])
    if not cards:
        last = index.n_features(slot.layer) - 1
        raise unprocessable("feature", feature, f"0 to {last}")
    return feature_views(index, list(cards.values()))[0]


def _colors(index: OpenIndex, used: Color) -> list[Link]:
    known = [color for color in COLORS if color != "selectivity" or ANY in index.manifest.tokens]
    return [Link(COLORS[color], "", color == used, color) for color in known]


def _known_color(color: str) -> Color:
    for known in get_args(Color):
        if color == known:
            return known  # type: ignore[no-any-return]
    raise unprocessable("color", color, listed(get_args(Color)))
