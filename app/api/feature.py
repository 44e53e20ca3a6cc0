"""`GET /api/v1/{index}/{layer}/{feature}...`: one feature at one token, and all its images as JSON or CSV."""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.responses import ERRORS, FOUND
from app.api.schemas.feature import FeatureImagesOut, FeatureOut
from app.api.serializers.feature import CSV, feature_images_out, feature_out, images_csv
from app.params.dependencies import FeaturePath, IndexDep, LimitQuery, OffsetQuery, SiteDep, SlotDep
from app.services.feature_details import read_feature_details
from app.urls import API

router = APIRouter(tags=["index"])


@router.get(
    API + "/{index}/{layer}/{feature}",
    summary="One feature at one token",
    response_description=FOUND,
    responses=ERRORS,
)
def feature(site: SiteDep, index: IndexDep, slot: SlotDep, feature: FeaturePath) -> FeatureOut:
    return feature_out(index, read_feature_details(index, slot, feature), site.json_urls)


@router.get(
    API + "/{index}/{layer}/{feature}/images",
    summary="Images of a feature by rank",
    response_description=FOUND,
    responses=ERRORS,
)
def feature_images(
    site: SiteDep,
    index: IndexDep,
    slot: SlotDep,
    feature: FeaturePath,
    limit: LimitQuery = 50,
    offset: OffsetQuery = 0,
) -> FeatureImagesOut:
    record = index.reader.feature(slot.layer, feature, slot.token)
    found = index.reader.activating_images(slot, feature, limit=limit, offset=offset)
    following = None
    if offset + limit < record.n_active:
        page = {"limit": limit, "offset": offset + limit}
        following = site.json_urls.feature_images(index.slug, slot.layer, feature, slot.token, **page)
    return feature_images_out(index, slot, record, found, site.json_urls, following)


@router.get(
    API + "/{index}/{layer}/{feature}/images.csv",
    summary="Images of a feature by rank, as CSV",
    description="Text cells that a spreadsheet would run as a formula begin with an apostrophe.",
    response_class=Response,
    response_description="rank, image_id, key, activation, position, caption, source_url, url; the header"
    " `Link` with `rel=next` names the next page",
    responses={**ERRORS, 200: {"content": {CSV: {"schema": {"type": "string"}}}}},
)
def feature_images_csv(
    site: SiteDep,
    index: IndexDep,
    slot: SlotDep,
    feature: FeaturePath,
    limit: LimitQuery = 500,
    offset: OffsetQuery = 0,
) -> Response:
    record = index.reader.feature(slot.layer, feature, slot.token)
    found = index.reader.activating_images(slot, feature, limit=limit, offset=offset)
    name = f"{index.slug}-{slot.name}-{feature}-from-{offset + 1}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if offset + limit < record.n_active:
        page = {"limit": limit, "offset": offset + limit}
        following = site.json_urls.feature_csv(index.slug, slot.layer, feature, slot.token, **page)
        headers["Link"] = f'<{following}>; rel="next"'
    return Response(images_csv(index, found, site.json_urls), media_type=CSV, headers=headers)
