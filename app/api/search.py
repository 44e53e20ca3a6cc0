"""`GET /api/v1/{index}/search`: what the search page shows."""

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.index import ERRORS, FOUND
from app.api.schemas import search as schemas
from app.api.serializers import store_records
from app.api.uploads import GONE, PRIVATE
from app.params.common import IndexDep, SiteDep
from app.params.search_params import AskedDep
from app.services.retrieval import FoundFeature, SearchResults
from app.services.search import Query, ask, target_of
from app.state import OpenIndex
from app.urls import API, Urls
from app.web.errors import ProblemBody
from scopeview.store.records import FeatureCard

router = APIRouter(tags=["index"])


@router.get(
    API + "/{index}/search",
    summary="Search features and images by words, name, number or image",
    response_description=FOUND,
    responses={**ERRORS, **GONE, 503: {"model": ProblemBody, "description": "busy: see Retry-After"}},
)
async def search(
    request: Request, response: Response, site: SiteDep, index: IndexDep, asked: AskedDep
) -> schemas.SearchOut:
    if asked.upload_id is not None:
        response.headers.update(PRIVATE)
    found = await ask(site, index, asked, request.app.state.decode_limiter)
    return await run_in_threadpool(search_out, index, asked, found, site.json_urls)


def search_out(index: OpenIndex, asked: Query, found: SearchResults, urls: Urls) -> schemas.SearchOut:
    target = target_of(index, asked)
    jump = urls.feature(index.slug, target.slot.layer, target.feature, target.slot.token) if target else None
    return schemas.SearchOut(
        index=index.slug,
        text=asked.text,
        image_id=asked.image_id,
        upload_id=asked.upload_id,
        layer=asked.layer,
        token=asked.token,
        jump=jump,
        numbered=[_found(index, each, urls) for each in found.numbered],
        named=[_found(index, each, urls) for each in found.named],
        features=[_found(index, each, urls) for each in found.features],
        also_named=[_found(index, each, urls) for each in found.also_named],
        images=[
            schemas.FoundImageOut(
                **store_records.image_row(index, each.row, urls).model_dump(), score=each.score
            )
            for each in found.images
        ],
        unknown_words=list(found.unknown_words),
        matches_well=not found.is_weak if asked.text and found.features else None,
        why_not=found.why_not,
    )


def feature_ref(index: OpenIndex, card: FeatureCard, urls: Urls) -> schemas.FeatureRefOut:
    return schemas.FeatureRefOut(
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


def _found(index: OpenIndex, found: FoundFeature, urls: Urls) -> schemas.FoundFeatureOut:
    reference = feature_ref(index, found.card, urls)
    return schemas.FoundFeatureOut(**reference.model_dump(), score=found.score, matched=found.word)
