"""`/`: the list of indexes; `/{index}`: the overview of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.formatting import layer_name
from app.pages.cards import FeatureView, feature_views
from app.pages.densities import DensityBar, density_bars
from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page, render
from app.pages.social_card import preview_of_index
from app.params.dependencies import IndexDep, SiteDep
from app.services.highlights import N_HIGHLIGHTS, densities, highlights
from app.services.map_points import has_map
from app.state import OpenIndex
from app.urls import URLS
from scopeview.sae.reference_metrics import PublishedMetrics, published_metrics
from scopeview.slots import EMBED, Layer, Slot
from scopeview.store.manifest import LayerRecord, Manifest
from scopeview.store.records import SlotSummary

SAMPLES = 4

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
    for_everyone = True

    indexes: list[IndexView]  # in the order they were given to the server


@dataclass(frozen=True)
class SlotView:
    """One token of a layer on the overview."""

    summary: SlotSummary
    n_dead: int  # features that fire on no indexed image
    url: str  # the gallery
    map_url: str | None  # None where there is no map
    densities: list[DensityBar]  # to be looked at; no links


@dataclass(frozen=True)
class LayerView:
    """One layer on the overview."""

    name: str  # `L22`
    words: str  # `after block 22`
    url: str  # the gallery at its first token
    record: LayerRecord  # the SAE and its figures
    published: PublishedMetrics | None  # where its authors have published some
    slots: list[SlotView]
    striking: list[FeatureView]  # at its first token


@dataclass(frozen=True)
class IndexPage(Page):
    template = "index.html"
    for_everyone = True

    manifest: Manifest  # where every number comes from
    layers: list[LayerView]  # in index order
    has_published: bool  # some layer has published figures to stand beside ours
    is_described: bool  # the striking features were chosen by clarity and name, and not drawn


@router.get("/", name="home")
def home(request: Request, site: SiteDep) -> HTMLResponse:
    views = [_index_view(index) for index in site.indexes.values()]
    return render(request, HomePage(Frame("features of a vision transformer"), views))


@router.get("/{index}", name="index")
def overview(request: Request, index: IndexDep) -> HTMLResponse:
    layers = [_layer_view(index, record) for record in index.manifest.layers]
    page = IndexPage(
        frame=frame_for(
            index,
            "overview",
            json_url=URLS.index(index.slug, api=True),
            preview=preview_of_index(index),
        ),
        manifest=index.manifest,
        layers=layers,
        has_published=any(layer.published for layer in layers),
        is_described=index.reader.is_described,
    )
    return render(request, page)


def _index_view(index: OpenIndex) -> IndexView:
    layers = [Link(str(layer), URLS.gallery(index.slug, layer)) for layer in index.layers]
    return IndexView(URLS.index(index.slug), index.manifest, layers, _samples(index))


def _layer_view(index: OpenIndex, record: LayerRecord) -> LayerView:
    slots = [Slot(record.layer, token) for token in index.tokens(record.layer)]
    return LayerView(
        name=layer_name(record.layer),
        words=_words(record.layer),
        url=URLS.gallery(index.slug, record.layer),
        record=record,
        published=published_metrics(record),
        slots=[_slot_view(index, slot) for slot in slots],
        striking=feature_views(index, highlights(index.reader, (slots[0],), N_HIGHLIGHTS)),
    )


def _slot_view(index: OpenIndex, slot: Slot) -> SlotView:
    summary = index.summaries[slot]
    return SlotView(
        summary=summary,
        n_dead=summary.n_features - summary.n_live,
        url=URLS.gallery(index.slug, slot.layer, token=slot.token),
        map_url=URLS.map(index.slug, slot.layer, token=slot.token) if has_map(index, slot) else None,
        densities=density_bars(densities(index.reader, slot), index.manifest.n_images),
    )


def _words(layer: Layer) -> str:
    return "the final image embedding" if layer == EMBED else f"the residual stream after block {layer}"


def _samples(index: OpenIndex) -> list[FeatureView]:
    """Returns features of blocks as far apart as possible, the deepest first: visitors understand it best."""
    blocks = index.blocks or index.layers
    layers = evenly(sorted(blocks, key=lambda layer: -int(layer) if layer != EMBED else 0), SAMPLES)
    slots = tuple(Slot(layer, index.tokens(layer)[0]) for layer in layers)
    return feature_views(index, highlights(index.reader, slots, SAMPLES))


def evenly(layers: Sequence[Layer], n: int) -> list[Layer]:
    """Returns at most `n` layers, evenly spaced, the first and the last included if there are more. Pure."""
    if len(layers) <= n:
        return list(layers)
    return [layers[round(at * (len(layers) - 1) / (n - 1))] for at in range(n)]
