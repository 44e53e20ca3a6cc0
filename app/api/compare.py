"""`GET /api/v1/{index}/compare`: features side by side."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.responses import ERRORS, FOUND
from app.api.serializers.store_records import grid_url
from app.params.compare_params import FeaturesQuery, NoteQuery, compared_features
from app.params.dependencies import IndexDep, SiteDep, TokenQuery
from app.params.view_params import slot_filter
from app.services.compare_features import FeatureComparison, FeatureEntry, compare
from app.services.feature_details import finite
from app.state import OpenIndex
from app.urls import API, Urls
from scopeview.slots import Layer

router = APIRouter(tags=["index"])


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ComparedOut(_Model):
    layer: Layer
    token: str
    feature: int
    names: list[str] = Field(description="best first; empty without names")
    n_active: int
    density: float
    max_activation: float | None
    mean_activation: float | None
    clarity: float | None = Field(description="null where unknown or failed")
    image_ids: list[int] = Field(description="top images, at most nine, by rank")
    grid_url: str | None
    url: str


class PairOut(_Model):
    one: int = Field(description="index in `features`, from 0")
    other: int
    n_compared: int = Field(description="number of top images compared, at most nine")
    image_ids: list[int] = Field(description="images in the top nine of both")


class CompareOut(_Model):
    index: str
    note: str
    features: list[ComparedOut] = Field(description="in the order of the request")
    pairs: list[PairOut] = Field(description="every pair")


@router.get(
    API + "/{index}/compare",
    summary="Compare features and the top images that they share",
    response_description=FOUND,
    responses=ERRORS,
)
def compare_json(
    site: SiteDep, index: IndexDep, features: FeaturesQuery, token: TokenQuery = None, note: NoteQuery = ""
) -> CompareOut:
    at = slot_filter(index, None, token).token
    return compare_out(index, compare(index, compared_features(index, features, at)), note, site.json_urls)


def compare_out(index: OpenIndex, found: FeatureComparison, note: str, urls: Urls) -> CompareOut:
    return CompareOut(
        index=index.slug,
        note=note,
        features=[_compared(index, each, urls) for each in found.features],
        pairs=[
            PairOut(one=pair.one, other=pair.other, n_compared=pair.n_compared, image_ids=pair.shared)
            for pair in found.pairs
        ],
    )


def _compared(index: OpenIndex, compared: FeatureEntry, urls: Urls) -> ComparedOut:
    record, described = compared.record, compared.description
    return ComparedOut(
        layer=record.layer,
        token=record.token,
        feature=record.feature,
        names=[name.word for name in described.names] if described else [],
        n_active=record.n_active,
        density=record.density,
        max_activation=record.max_activation,
        mean_activation=record.mean_activation,
        clarity=finite(described.clarity) if described else None,
        image_ids=compared.nine,
        grid_url=grid_url(index, record, urls),
        url=urls.feature(index.slug, record.layer, record.feature, record.token),
    )
