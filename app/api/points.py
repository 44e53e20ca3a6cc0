"""`GET /api/v1/{index}/{layer}/points`: every active feature of a slot in columns, as JSON or packed."""

from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from jaxtyping import Float32
from pydantic import BaseModel, Field
from starlette.requests import Request

from app.api.responses import ERRORS, FOUND
from app.params.dependencies import IndexDep, SlotDep
from app.params.filters import NameQuery
from app.services.map_points import packed
from app.state import OpenIndex
from app.urls import API
from app.web.caching import FOR_EVERYONE, versioned_response
from scopeview.slots import Layer, Slot

BINARY = "application/octet-stream"
PACKED: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    200: {
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        "description": "safetensors: 8 bytes with the length of a JSON header, the header, the columns,"
        " little-endian. int32: feature, n_active, word; float32: max_activation, clarity, selectivity,"
        " name_score, x, y, NaN where unknown. `word` counts in the list `words` of the header's"
        " `__metadata__`, -1 for none.",
    },
}


class PointsOut(BaseModel):
    """Columns of equal length: entry i of each is one feature; null where a figure is unknown."""

    index: str
    layer: Layer
    token: str
    n_images: int = Field(description="images in the index; density is n_active / n_images")
    feature: list[int] = Field(
        description="feature numbers, ascending; those that fire on at least nine images"
    )
    n_active: list[int] = Field(description="images on which it fires")
    max_activation: list[float | None]
    clarity: list[float | None]
    selectivity: list[float | None]
    name: list[str | None] = Field(description="best name")
    name_score: list[float | None]
    x: list[float | None] = Field(description="position on the map of its slot, 0 to 1")
    y: list[float | None]


router = APIRouter(tags=["index"])


@router.get(
    API + "/{index}/{layer}/points",
    summary="Metrics and map positions of the features of a layer, in columns",
    response_description=FOUND,
    response_model=PointsOut,
    responses=ERRORS,
)
def points(index: IndexDep, slot: SlotDep, name: NameQuery = None) -> Response:
    """Returns every active feature in columns.

    The JSON is written here, since FastAPI would make all other requests wait for it: 65,536 features are 8
    MB.
    """
    content = _points(index, slot, name).model_dump_json()
    return Response(content, media_type="application/json", headers={"Cache-Control": FOR_EVERYONE})


def _points(index: OpenIndex, slot: Slot, name: str | None) -> PointsOut:
    found = index.reader.points(slot)
    chosen = np.ones(len(found.feature), bool)
    if name is not None:
        chosen = np.isin(found.feature, index.reader.named(slot, name))
    return PointsOut(
        index=index.slug,
        layer=slot.layer,
        token=slot.token,
        n_images=index.manifest.n_images,
        feature=found.feature[chosen].tolist(),
        n_active=found.n_active[chosen].tolist(),
        max_activation=_listed(found.max_activation[chosen]),
        clarity=_listed(found.clarity[chosen]),
        selectivity=_listed(found.selectivity[chosen]),
        name=[found.name[at] for at in np.flatnonzero(chosen)],
        name_score=_listed(found.name_score[chosen]),
        x=_listed(found.x[chosen]),
        y=_listed(found.y[chosen]),
    )


@router.get(
    API + "/{index}/{layer}/points.safetensors",
    summary="The same columns as safetensors",
    response_class=Response,
    responses=PACKED,
)
def points_packed(request: Request, index: IndexDep, slot: SlotDep) -> Response:
    content, version = packed(index.reader, slot), index.version
    gzips = "gzip" in request.headers.get("accept-encoding", "")
    answer = versioned_response(
        request,
        content.gzipped if gzips else content.plain,
        BINARY,
        version,
        f"{version}-p{slot.name}{'-gz' if gzips else ''}",
        "gzip" if gzips else None,
    )
    answer.headers["Vary"] = "Accept-Encoding"
    return answer


def _listed(column: Float32[np.ndarray, " point"]) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in column.tolist()]
