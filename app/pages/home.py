"""`/`: the indexes served here; and `/{index}`: what one of them holds."""

from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.formatting import layer_name
from app.pages.frame import URLS, Frame, Link, frame_for
from app.pages.parts import FeatureView, feature_views
from app.pages.render import Page, render
from app.params import IndexDep, SiteDep
from app.site import OpenIndex
from scopeview.slots import Slot
from scopeview.store.manifest import LayerRecord, Manifest
from scopeview.store.records import SlotSummary

_SAMPLES = 4

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class IndexView:
    """One index on the home page."""

    url: str
    manifest: Manifest
    layers: list[Link]
    samples: list[FeatureView]  # a few features with grids, the same on every visit


@dataclass(frozen=True)
class HomePage(Page):
    template = "home.html"

    indexes: list[IndexView]  # in the order they were given to the server


@dataclass(frozen=True)
class SlotView:
    """One token of a layer on the overview."""

    summary: SlotSummary
    url: str  # the gallery


@dataclass(frozen=True)
class LayerView:
    """One layer on the overview."""

    name: str
    record: LayerRecord  # the SAE and its figures
    slots: list[SlotView]


@dataclass(frozen=True)
class IndexPage(Page):
    template = "index.html"

    manifest: Manifest  # where every number comes from
    layers: list[LayerView]  # in index order
    samples: list[FeatureView]  # a few features with grids


@router.get("/", name="home")
def home(request: Request, site: SiteDep) -> HTMLResponse:
    views = [_index_view(index) for index in site.indexes.values()]
    return render(request, HomePage(Frame("features of a vision transformer"), views))


@router.get("/{index}", name="index")
def overview(request: Request, index: IndexDep) -> HTMLResponse:
    frame = frame_for(index, "overview", json_url=URLS.index(index.slug, api=True))
    layers = [_layer_view(index, record) for record in index.manifest.layers]
    return render(request, IndexPage(frame, index.manifest, layers, _samples(index, 6)))


def _index_view(index: OpenIndex) -> IndexView:
    layers = [Link(str(layer), URLS.gallery(index.slug, layer)) for layer in index.layers]
    return IndexView(URLS.index(index.slug), index.manifest, layers, _samples(index, _SAMPLES))


def _layer_view(index: OpenIndex, record: LayerRecord) -> LayerView:
    summaries = [index.summaries[Slot(record.layer, token)] for token in index.tokens(record.layer)]
    slots = [
        SlotView(summary, URLS.gallery(index.slug, record.layer, token=summary.token))
        for summary in summaries
    ]
    return LayerView(layer_name(record.layer), record, slots)


def _samples(index: OpenIndex, limit: int) -> list[FeatureView]:
    """From the deepest block that has any: those mean most to a visitor."""
    blocks = [slot for slot in index.manifest.slots if slot.layer != "embed"] or index.manifest.slots
    for slot in sorted(blocks, key=lambda slot: -int(slot.layer) if slot.layer != "embed" else 0):
        cards = index.reader.gallery(slot, sort="random", seed=7, limit=limit).cards
        if cards:
            return feature_views(index, cards)
    return []
