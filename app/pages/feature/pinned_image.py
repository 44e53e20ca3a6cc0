"""The image from which a visitor came: it stays first on the feature's page, with its heatmap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from starlette.requests import Request

from app.formatting import feature_name, significant
from app.pages.cards import Bar, ImageView, bar
from app.pages.image.active_features import MarkedHistogram, marked, where_words
from app.pages.image.header import image_ref_view
from app.pages.image.patch_grid import HeatmapView, heat_over
from app.params.dependencies import Number
from app.services.decomposition import layer_of
from app.services.images import ImageRef, indexed_image, uploaded_image
from app.state import AppState, OpenIndex
from app.web.errors import ProblemError
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.heatmap import feature_heatmaps
from scopeview.analysis.token_selection import ActiveFeatureSummary, Selection, summarize
from scopeview.slots import ANY, EMBED, Slot, token_number
from scopeview.store.records import FeatureRecord

ImageQuery = Annotated[Number | None, Query(description="image pinned to the top of the page")]
UploadQuery = Annotated[str | None, Query(max_length=40, description="upload pinned to the top of the page")]


@dataclass(frozen=True)
class PinnedImage:
    """An image and its decomposition at the layer; `why_not` says in words why that is unknown."""

    image: ImageRef
    found: LayerDecomposition | None = None
    why_not: str = ""

    @property
    def is_fleeting(self) -> bool:
        """True if it must not be cached for others: an upload, or values that are unknown at the moment."""
        return self.image.upload is not None or bool(self.why_not)


@dataclass(frozen=True)
class PinnedImageView:
    """The pinned image as the page shows it."""

    title: str  # `Your image`
    image: ImageView  # leads back to where one came from
    bar: Bar  # the activation at the page's token, as a part of the highest in the index
    words: str  # where in the image it fires
    heat: HeatmapView | None
    size: int
    histogram: MarkedHistogram | None
    back: str
    why_not: str


async def read_pinned_image(
    request: Request,
    site: AppState,
    index: OpenIndex,
    slot: Slot,
    feature: int,
    image_id: int | None,
    upload_id: str | None,
) -> PinnedImage | None:
    """Returns the pinned image; None if the address names none. Raises as the image's own page does."""
    if image_id is None and upload_id is None:
        return None
    image = (
        indexed_image(index, image_id)
        if image_id is not None
        else uploaded_image(site, index, upload_id or "")
    )
    try:
        decoding = request.app.state.decode_limiter
        known = [feature] if feature < index.n_features(slot.layer) else []
        found = await layer_of(site, index, image, slot.layer, decoding, known)
        return PinnedImage(image, found)
    except ProblemError as error:  # the page goes on without
        return PinnedImage(image, why_not=error.answer.detail)


def pinned_image_view(
    index: OpenIndex, slot: Slot, record: FeatureRecord, given: PinnedImage | None
) -> PinnedImageView | None:
    if given is None:
        return None
    at, found = given.image.address, given.found
    tokens = slot.token if slot.layer != EMBED else ANY
    back = at.url("activations", layer=slot.layer, tokens=tokens, feature=record.feature)
    size = index.manifest.model.grid_size
    value = _value(found, slot, record.feature) if found else 0.0
    has_heat = found is not None and found.n_tokens > 1
    whole = _whole(found, record.feature) if found else None
    return PinnedImageView(
        title=at.name.capitalize(),
        image=image_ref_view(index, given.image)._replace(url=back),
        bar=bar(value, record.max_activation),
        words=_words(whole, found, size) if whole and found else "does not fire on this image",
        heat=_heat(index, slot, record, found, size) if has_heat and found else None,
        size=size,
        histogram=marked(record.histogram, value, slot, is_indexed=given.image.row is not None)
        if value > 0
        else None,
        back=back,
        why_not=given.why_not,
    )


def _words(whole: ActiveFeatureSummary, found: LayerDecomposition, size: int) -> str:
    return f"fires {where_words(whole, found, size)}: {significant(whole.activation)}"


def _value(found: LayerDecomposition, slot: Slot, feature: int) -> float:
    number = token_number(slot.token)
    values: Sequence[float] = feature_heatmaps(found, [feature])[0].tolist()
    return max(values) if number is None or number >= len(values) else values[number]


def _whole(found: LayerDecomposition, feature: int) -> ActiveFeatureSummary | None:
    whole = summarize(found, Selection(ANY, None)).features
    return next((each for each in whole if each.feature == feature), None)


def _heat(
    index: OpenIndex, slot: Slot, record: FeatureRecord, found: LayerDecomposition, size: int
) -> HeatmapView:
    """Returns the heatmap, in the colors that the other images of the page have."""
    values = feature_heatmaps(found, [record.feature])[0]
    there = Slot(slot.layer, ANY if ANY in index.tokens(slot.layer) else slot.token)
    card = index.reader.cards(there, [record.feature]).get(record.feature)
    known = card.max_activation if card else None
    return heat_over(values, known or float(values.max()), size, feature_name(slot.layer, record.feature))
