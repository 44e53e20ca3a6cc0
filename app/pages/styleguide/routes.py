"""`/patterns`: every component in every state on one page, for anyone who changes how they look.

It is always served: it costs nothing, no page leads to it, and it shows how a deployment really looks. Its
images are the first index's own; its figures are made up, and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.formatting import heat
from app.pages.cards import Bar, FeatureView, ImageView, Mark, feature_view, image_view
from app.pages.densities import DensityBar
from app.pages.error import HEADINGS
from app.pages.feature.histogram import BinView, HistogramView
from app.pages.feature.metrics import Metric
from app.pages.layout import Frame, Link
from app.pages.paging import Paging
from app.pages.render import Page, render
from app.pages.styleguide.samples import ImageSamples, image_samples
from app.params.dependencies import SiteDep
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Slot
from scopeview.store.records import FeatureCard, ImageRow

GRID = 16

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class ComponentState:
    """A component in one state."""

    words: str


@dataclass(frozen=True)
class ImageState(ComponentState):
    image: ImageView


@dataclass(frozen=True)
class FeatureState(ComponentState):
    feature: FeatureView


@dataclass(frozen=True)
class PatternsPage(Page):
    template = "styleguide.html"

    features: list[FeatureState]
    images: list[ImageState]
    bars: list[Bar]
    densities: list[DensityBar]
    metrics: list[Metric]
    histogram: HistogramView
    heat_map: list[tuple[int, str]]  # step of the activation colors, and one patch as an SVG path
    pagings: list[Paging]  # of the first page, one between, and the last
    image_samples: ImageSamples | None  # of the pages about one image
    headings: list[str]  # of problem pages
    colors: list[str]  # names of the custom properties


@router.get("/patterns", name="patterns")
def patterns(request: Request, site: SiteDep) -> HTMLResponse:
    index = next(iter(site.indexes.values()))
    slot = max(index.manifest.slots, key=lambda slot: index.summaries[slot].n_active)
    rows = index.reader.images(limit=9)
    page = PatternsPage(
        frame=_frame(),
        features=_features(index, slot),
        images=_images(index, rows),
        bars=[Bar(value / 2, value / 10, heat(value / 10)) for value in range(11)],
        densities=_densities(),
        metrics=_readings(),
        histogram=_histogram(),
        heat_map=_heat_map(),
        pagings=[_paging(page) for page in (1, 2, 3)],
        image_samples=image_samples(index),
        headings=list(HEADINGS.values()),
        colors=["page", "raised", "line", "quiet", "text", "accent", "bad", "note", "track"],
    )
    return render(request, page)


def _frame() -> Frame:
    """Builds a frame with a rail of many layers and a switch, all leading back here."""
    here = URLS.patterns()
    rail = [Link(str(layer), here, layer == 14) for layer in (2, 5, 8, 11, 14, 17, 20, 22)]
    switch = [Link(token, here, token == "CLS") for token in ("CLS", "137", "any")]
    return Frame("style guide", index=Link("style guide", here), layers=rail, tokens=switch)


def _features(index: OpenIndex, slot: Slot) -> list[FeatureState]:
    """Shows one feature of the index in all states; its names and values are made up."""
    cards = index.reader.gallery(slot, min_images=0, sort="density", limit=1).cards
    if not cards:
        return []
    rows = index.reader.image_rows(cards[0].top_image_ids)
    plain = feature_view(index, cards[0], rows, cards[0].top_image_ids)
    few = _with_few(index, cards[0], rows)
    named = plain._replace(word="red heart", word_score=0.312)
    return [
        FeatureState("without a name", plain),
        FeatureState("with its best name", named),
        FeatureState("a long name", plain._replace(word="a very long name that does not fit " * 3)),
        FeatureState("on an image: with a bar", named._replace(bar=Bar(4.2, 0.6, 6))),
        FeatureState("and with a position", named._replace(bar=Bar(9.9, 1.0, 9), place="patch (8, 8)")),
        FeatureState("may be unsafe", named._replace(unsafe=True)),
        FeatureState("fires on few images", few),
        FeatureState(
            "never fires",
            plain._replace(
                n_active=0, density=0.0, max_activation=None, sprite=None, thumbs=[], unsafe=False
            ),
        ),
    ]


def _with_few(index: OpenIndex, card: FeatureCard, rows: dict[int, ImageRow]) -> FeatureView:
    fewer = replace(card, n_active=min(card.n_active, 4))
    return feature_view(index, fewer, rows, card.top_image_ids[:4])


def _images(index: OpenIndex, rows: Sequence[ImageRow]) -> list[ImageState]:
    if not rows:
        return []
    plain = image_view(index, rows[0])._replace(unsafe=False, gone=False)
    return [
        ImageState("plain", plain),
        ImageState("a patch outlined", plain._replace(mark=Mark(8, 8, GRID, "patch (8, 8)"))),
        ImageState("may be unsafe", plain._replace(unsafe=True)),
        ImageState("removed", plain._replace(gone=True)),
        ImageState("without a link", plain._replace(url=None)),
    ]


def _densities() -> list[DensityBar]:
    heights = [0.2, 0.5, 0.9, 1.0, 0.6, 0.3, 0.1]
    return [
        DensityBar(
            2**i, 2 ** (i + 1) - 1, int(100 * height), height, f"bar {i}", 1 <= i <= 4, URLS.patterns()
        )
        for i, height in enumerate(heights)
    ]


def _readings() -> list[Metric]:
    words = "one-line explanation of this metric"
    return [
        Metric("density", "density", 0.000624, "percent", words),
        Metric("max", "maximum at CLS", 12.3456, "number", words),
        Metric("clarity", "clarity", None, "number", words),
    ]


def _histogram() -> HistogramView:
    counts = [0, 1, 3, 9, 40, 210, 180, 60, 12, 2]
    bins = [
        BinView(i * 1.2, (i + 1) * 1.2, count, count / 210, heat((i + 1) / 10))
        for i, count in enumerate(counts)
    ]
    here = f"{URLS.patterns()}#histogram"
    scales = [Link("log", here, True), Link("linear", here)]
    return HistogramView(bins, "CLS", 12.0, sum(counts), scales)


def _heat_map() -> list[tuple[int, str]]:
    """Returns a heatmap: highest in the middle, zero at the corners."""
    values = [
        (max(0.0, 1 - ((row - 8) ** 2 + (at - 8) ** 2) / 60), row, at)
        for row in range(GRID)
        for at in range(GRID)
    ]
    return [(heat(value), f"M{at} {row}h1v1h-1z") for value, row, at in values if value]


def _paging(page: int) -> Paging:
    here = f"{URLS.patterns()}#pagers"
    return Paging(page, 3, here if page > 1 else None, here if page < 3 else None)
