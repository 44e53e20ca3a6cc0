"""Feature details to JSON schemas. Pure: nothing is read here."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict

from app.api.schemas.feature import (
    AtTokenOut,
    DescriptionOut,
    ExampleOut,
    FeatureImagesOut,
    FeatureOut,
    HistogramOut,
    IntervalOut,
    NameOut,
    NeighborOut,
    PositionsOut,
)
from app.api.schemas.index import ProvenanceOut
from app.api.serializers.store_records import grid_url, top_image
from app.formatting import safe_link
from app.services.feature_details import (
    AtToken,
    FeatureDetails,
    SimilarFeature,
    description_metrics,
    finite,
    provenance,
)
from app.state import OpenIndex
from app.urls import Urls
from scopeview.slots import Slot
from scopeview.store.records import Description, FeatureRecord, Interval, TopImage


def feature_out(index: OpenIndex, details: FeatureDetails, urls: Urls) -> FeatureOut:
    feature, described = details.record, details.description
    return FeatureOut(
        index=index.slug,
        layer=feature.layer,
        token=feature.token,
        feature=feature.feature,
        url=urls.feature(index.slug, feature.layer, feature.feature, feature.token),
        n_images=feature.n_images,
        n_active=feature.n_active,
        density=feature.density,
        max_activation=feature.max_activation,
        mean_activation=feature.mean_activation,
        histogram=HistogramOut(edges=feature.histogram.edges, counts=feature.histogram.counts),
        grid_url=grid_url(index, feature, urls),
        top_images=[top_image(index, image, urls) for image in feature.top_images],
        folds=described.folds if described else [],
        names=[NameOut(word=each.word, score=each.score) for each in described.names] if described else [],
        neighbors=[_neighbor(index, near, urls) for near in [*details.within, *details.across]],
        description=_description(described) if described else None,
        tokens=[_at_token(index, at, urls) for at in details.tokens],
        positions=_positions(index, described) if described else None,
        intervals=[_interval(index, each, feature, urls) for each in details.intervals],
        previous=details.previous,
        following=details.following,
        provenance=ProvenanceOut(**asdict(provenance(index.manifest, feature.layer))),
    )


def feature_images_out(
    index: OpenIndex,
    slot: Slot,
    record: FeatureRecord,
    found: Sequence[TopImage],
    urls: Urls,
    following: str | None,
) -> FeatureImagesOut:
    return FeatureImagesOut(
        index=index.slug,
        layer=slot.layer,
        token=slot.token,
        feature=record.feature,
        n_active=record.n_active,
        images=[top_image(index, top, urls) for top in found],
        next=following,
    )


def _description(described: Description) -> DescriptionOut:
    figures = description_metrics(described)
    return DescriptionOut(
        **{name: finite(value) for name, value in figures.items()},
        failed=[name for name, value in figures.items() if value is not None and finite(value) is None],
    )


def _positions(index: OpenIndex, described: Description) -> PositionsOut | None:
    if described.positions is None:
        return None
    grid = index.manifest.model.grid_size
    return PositionsOut(grid=grid, counts=described.positions, at_cls=described.at_cls)


def _neighbor(index: OpenIndex, near: SimilarFeature, urls: Urls) -> NeighborOut:
    neighbor, card = near.neighbor, near.card
    return NeighborOut(
        kind=neighbor.kind,
        layer=neighbor.layer,
        feature=neighbor.feature,
        score=neighbor.score,
        name=card.name,
        n_active=card.n_active,
        density=card.density,
        max_activation=card.max_activation,
        url=urls.feature(index.slug, card.layer, card.feature, card.token),
    )


def _at_token(index: OpenIndex, at: AtToken, urls: Urls) -> AtTokenOut:
    card = at.card
    return AtTokenOut(
        token=card.token,
        n_active=card.n_active,
        density=card.density,
        top_image_ids=card.top_image_ids,
        n_shared=len(at.shared),
        n_compared=at.n_compared,
        url=urls.feature(index.slug, card.layer, card.feature, card.token),
    )


def _interval(index: OpenIndex, each: Interval, record: FeatureRecord, urls: Urls) -> IntervalOut:
    return IntervalOut(
        low=each.low,
        high=each.high,
        n_images=each.n_images,
        of_firing=each.n_images / record.n_active,
        of_all=each.n_images / record.n_images,
        images=[
            ExampleOut(
                rank=top.rank,
                image_id=top.image_id,
                activation=top.activation,
                thumb_url=urls.thumb(index.slug, top.image_id, index.version),
            )
            for top in each.images
        ],
    )


CSV = "text/csv"
COLUMNS = ("rank", "image_id", "key", "activation", "position", "caption", "source_url", "url")

# What spreadsheets take as the start of a formula, full-width forms among them; a tab or a line's end at the
# front is passed over by some, and what follows is then run.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def images_csv(index: OpenIndex, images: Sequence[TopImage], urls: Urls) -> str:
    """Returns a header line and one line per image. Numbers are exact; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for top in images:
        words = (
            cell(top.caption),
            cell(safe_link(top.source_url)),
            cell(urls.image(index.slug, top.image_id)),
        )
        position = "" if top.position is None else top.position
        writer.writerow((top.rank, top.image_id, cell(top.key), repr(top.activation), position, *words))
    return text.getvalue()


def cell(words: str | None) -> str:
    """Returns the words, with an apostrophe in front where a spreadsheet would run them as a formula."""
    if words is None:
        return ""
    is_formula = words.lstrip(" \u00a0\ufeff").startswith(_FORMULA) or words.startswith(_FORMULA)
    return f"'{words}" if is_formula else words
