"""`GET /api/v1/{index}/search`: features and images that match a query."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.responses import ENCODER, ERRORS, FOUND, GONE
from app.api.schemas.search import FeatureRefOut, FoundFeatureOut, FoundImageOut, SearchOut
from app.api.serializers import store_records
from app.params.dependencies import IndexDep, SiteDep
from app.params.search_params import SearchQuery, SearchQueryDep
from app.services.retrieval import FoundFeature, SearchResults
from app.services.search import run_search, target_of
from app.state import OpenIndex
from app.urls import API, Urls
from app.web.caching import PRIVATE
from scopeview.store.records import FeatureCard

router = APIRouter(tags=["index"])


@router.get(
    API + "/{index}/search",
    summary="Search features and images by words, name, number or image",
    response_description=FOUND,
    responses={**ERRORS, **GONE, **ENCODER},
)
async def search(
    request: Request, response: Response, site: SiteDep, index: IndexDep, query: SearchQueryDep
) -> SearchOut:
    if query.upload_id is not None:
        response.headers.update(PRIVATE)
    found = await run_search(site, index, query, request.app.state.decode_limiter)
    return await run_in_threadpool(search_out, index, query, found, site.json_urls)


def search_out(index: OpenIndex, query: SearchQuery, found: SearchResults, urls: Urls) -> SearchOut:
    target = target_of(index, query)
    jump = urls.feature(index.slug, target.slot.layer, target.feature, target.slot.token) if target else None
    return SearchOut(
        index=index.slug,
        text=query.text,
        image_id=query.image_id,
        upload_id=query.upload_id,
        layer=query.layer,
        token=query.token,
        jump=jump,
        numbered=[_found(index, each, urls) for each in found.numbered],
        named=[_found(index, each, urls) for each in found.named],
        features=[_found(index, each, urls) for each in found.features],
        also_named=[_found(index, each, urls) for each in found.also_named],
        images=[
            FoundImageOut(**store_records.image_row(index, each.row, urls).model_dump(), score=each.score)
            for each in found.images
        ],
        unknown_words=list(found.unknown_words),
        matches_well=not found.is_weak if query.text and found.features else None,
        why_not=found.why_not,
    )


def feature_ref(index: OpenIndex, card: FeatureCard, urls: Urls) -> FeatureRefOut:
    return FeatureRefOut(
        layer=card.layer,
        token=card.token,
        feature=card.feature,
        name=card.name,
        n_active=card.n_active,
        density=card.density,
        max_activation=card.max_activation,
        grid_url=store_records.grid_url(index, card, urls),
        url=urls.feature(index.slug, card.layer, card.feature, card.token),
    )


def _found(index: OpenIndex, found: FoundFeature, urls: Urls) -> FoundFeatureOut:
    reference = feature_ref(index, found.card, urls)
    return FoundFeatureOut(**reference.model_dump(), score=found.score, matched=found.word)
