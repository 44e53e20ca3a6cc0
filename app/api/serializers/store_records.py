"""Records of the store to JSON schemas."""

from dataclasses import asdict

from app.api.schemas.image import ActiveFeatureOut, CodeOut, ImageOut, ImageRowOut, TopImageOut, UploadOut
from app.api.schemas.index import (
    DensityBinOut,
    FeatureCardOut,
    GalleryOut,
    IndexOut,
    IndexSummaryOut,
    LayerOut,
    ModelOut,
    SlotOut,
)
from app.formatting import safe_link
from app.services.feature_details import finite
from app.services.highlights import N_HIGHLIGHTS, densities, highlights
from app.services.receive_upload import upload_fields
from app.state import OpenIndex
from app.uploads.store import Upload
from app.urls import Urls
from scopeview.sae.reference_metrics import published_metrics
from scopeview.slots import Slot
from scopeview.store.manifest import LayerRecord
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    Code,
    FeatureCard,
    FeatureRecord,
    Gallery,
    ImageRecord,
    ImageRow,
    TopImage,
)


def index_summary(index: OpenIndex, urls: Urls) -> IndexSummaryOut:
    manifest = index.manifest
    return IndexSummaryOut(
        index=index.slug,
        url=urls.index(index.slug),
        n_images=manifest.n_images,
        dataset=manifest.dataset,
        created=manifest.created,
        random_weights=manifest.model.random_weights,
    )


def index_out(index: OpenIndex, urls: Urls) -> IndexOut:
    manifest = index.manifest
    return IndexOut(
        **index_summary(index, urls).model_dump(),
        skipped=manifest.skipped,
        dtype=manifest.dtype,
        model=ModelOut(**manifest.model.model_dump(exclude={"projection_dim", "preprocessing"})),
        layers=[_layer(index, record, urls) for record in manifest.layers],
    )


def _layer(index: OpenIndex, record: LayerRecord, urls: Urls) -> LayerOut:
    at = [Slot(record.layer, token) for token in index.tokens(record.layer)]
    published = published_metrics(record)
    tokens = [
        SlotOut(
            token=summary.token,
            n_features=summary.n_features,
            n_live=summary.n_live,
            n_active=summary.n_active,
            n_dead=summary.n_features - summary.n_live,
            densities=[DensityBinOut(**asdict(each)) for each in densities(index.reader, slot)],
            url=urls.gallery(index.slug, slot.layer, token=slot.token),
        )
        for slot in at
        for summary in [index.summaries[slot]]
    ]
    return LayerOut.model_validate(
        {
            **record.model_dump(),
            "published": published and published._asdict(),
            "tokens": tokens,
            "striking": [
                feature_card(index, card, urls) for card in highlights(index.reader, (at[0],), N_HIGHLIGHTS)
            ],
        }
    )


def top_image(index: OpenIndex, image: TopImage, urls: Urls) -> TopImageOut:
    return TopImageOut(
        rank=image.rank,
        image_id=image.image_id,
        key=image.key,
        activation=image.activation,
        position=image.position,
        caption=image.caption,
        source_url=safe_link(image.source_url),
        punsafe=image.punsafe,
        removed=image.image_id in index.reader.blocked(),
        url=urls.image(index.slug, image.image_id),
        thumb_url=urls.thumb(index.slug, image.image_id, index.version),
    )


def grid_url(index: OpenIndex, feature: FeatureRecord | FeatureCard, urls: Urls) -> str | None:
    if not feature.has_grid:
        return None
    ids = (
        feature.top_image_ids
        if isinstance(feature, FeatureCard)
        else [top.image_id for top in feature.top_images[:MIN_GRID_IMAGES]]
    )
    return urls.grid(index.slug, feature.layer, feature.token, feature.feature, index.grid_version(ids))


def gallery_out(
    index: OpenIndex, slot: Slot, gallery: Gallery, urls: Urls, following: str | None
) -> GalleryOut:
    summary = index.summaries[slot]
    return GalleryOut(
        index=index.slug,
        layer=slot.layer,
        token=slot.token,
        n_features=summary.n_features,
        n_live=summary.n_live,
        n_active=summary.n_active,
        n_matching=gallery.n_matching,
        n_images=index.manifest.n_images,
        features=[feature_card(index, card, urls) for card in gallery.cards],
        next=following,
    )


def feature_card(index: OpenIndex, card: FeatureCard, urls: Urls) -> FeatureCardOut:
    return FeatureCardOut(
        feature=card.feature,
        n_active=card.n_active,
        density=card.density,
        max_activation=card.max_activation,
        name=card.name,
        name_score=finite(card.name_score),
        clarity=finite(card.clarity),
        selectivity=finite(card.selectivity),
        top_image_ids=card.top_image_ids,
        grid_url=grid_url(index, card, urls),
        url=urls.feature(index.slug, card.layer, card.feature, card.token),
    )


def image_row(index: OpenIndex, row: ImageRow, urls: Urls) -> ImageRowOut:
    return ImageRowOut(
        image_id=row.image_id,
        key=row.key,
        caption=row.caption,
        removed=row.image_id in index.reader.blocked(),
        url=urls.image(index.slug, row.image_id),
        thumb_url=urls.thumb(index.slug, row.image_id, index.version),
    )


def image_out(index: OpenIndex, image: ImageRecord, urls: Urls) -> ImageOut:
    row = image.row
    return ImageOut(
        **image_row(index, row, urls).model_dump(),
        index=index.slug,
        source_url=safe_link(row.source_url),
        label=row.label,
        width=row.width,
        height=row.height,
        punsafe=row.punsafe,
        codes=codes_out(image.codes),
    )


def codes_out(codes: list[Code]) -> list[CodeOut]:
    return [
        CodeOut(
            layer=code.layer,
            token=code.token,
            n_active=code.n_active,
            features=[
                ActiveFeatureOut(feature=pair.feature, activation=pair.activation, position=pair.position)
                for pair in code.features
            ],
        )
        for code in codes
    ]


def upload_out(upload: Upload, urls: Urls) -> UploadOut:
    return UploadOut.model_validate(upload_fields(upload, urls))
