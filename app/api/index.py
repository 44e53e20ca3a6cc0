"""`GET /api/v1/...`: indexes, galleries and images."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.responses import ANY_GET, ERRORS, FOUND, REMOVED
from app.api.schemas.image import ImageOut, ImagesOut
from app.api.schemas.index import GalleryOut, IndexesOut, IndexOut
from app.api.serializers import store_records
from app.params.dependencies import (
    PAGE_SIZE,
    ImagePath,
    IndexDep,
    LimitQuery,
    Number,
    OffsetQuery,
    SeedQuery,
    SiteDep,
    SlotDep,
    SortQuery,
    known_sort,
)
from app.params.filters import FiltersDep
from app.urls import API

router = APIRouter(tags=["index"])


@router.get(f"{API}/indexes", summary="List the indexes", response_description=FOUND, responses=ANY_GET)
def indexes(site: SiteDep) -> IndexesOut:
    found = [store_records.index_summary(index, site.json_urls) for index in site.indexes.values()]
    return IndexesOut(indexes=found)


@router.get(
    API + "/{index}",
    summary="One index: its model, layers and SAEs",
    response_description=FOUND,
    responses=ERRORS,
)
def index_overview(site: SiteDep, index: IndexDep) -> IndexOut:
    return store_records.index_out(index, site.json_urls)


@router.get(API + "/{index}/images", summary="List the images", response_description=FOUND, responses=ERRORS)
def images(
    site: SiteDep,
    index: IndexDep,
    limit: LimitQuery = 100,
    after: Annotated[Number | None, Query(description="start after this image_id")] = None,
) -> ImagesOut:
    rows = index.reader.images(limit=limit + 1, after=-1 if after is None else after)
    following = None
    if len(rows) > limit:
        following = site.json_urls.images(index.slug, limit=limit, after=rows[limit - 1].image_id)
    return ImagesOut(
        index=index.slug,
        n_images=index.manifest.n_images,
        images=[store_records.image_row(index, row, site.json_urls) for row in rows[:limit]],
        next=following,
    )


@router.get(
    API + "/{index}/images/{image_id}",
    summary="One image and its active features at every layer and token",
    response_description=FOUND,
    responses={**ERRORS, **REMOVED},
)
def image(site: SiteDep, index: IndexDep, image_id: ImagePath) -> ImageOut:
    return store_records.image_out(index, index.reader.image(image_id), site.json_urls)


@router.get(
    API + "/{index}/{layer}",
    summary="List the features of a layer",
    response_description=FOUND,
    responses=ERRORS,
)
def gallery(
    site: SiteDep,
    index: IndexDep,
    slot: SlotDep,
    filters: FiltersDep,
    sort: SortQuery = "feature",
    seed: SeedQuery = 0,
    limit: LimitQuery = PAGE_SIZE,
    offset: OffsetQuery = 0,
) -> GalleryOut:
    found = index.reader.gallery(
        slot, sort=known_sort(sort), **filters.gallery_keywords(), seed=seed, limit=limit, offset=offset
    )
    following = None
    if offset + limit < found.n_matching:
        query = {"sort": sort, **filters.query(), "min_images": filters.min_images, "seed": seed}
        page = {"limit": limit, "offset": offset + limit}
        following = site.json_urls.gallery(
            index.slug, slot.layer, api=True, token=slot.token, **query, **page
        )
    return store_records.gallery_out(index, slot, found, site.json_urls, following)
