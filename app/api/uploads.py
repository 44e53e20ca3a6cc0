"""`/api/v1/{index}/uploads`: send a picture, read what it was taken apart into, delete it."""

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.requests import Request

from app.api.responses import ERRORS, FOUND, GONE, NOT_FOUND, Responses, problem
from app.api.schemas import common
from app.api.serializers.store_records import upload_out
from app.params.common import IndexDep, SiteDep
from app.services.images import UploadPath
from app.services.receive_upload import created_response, receive_upload
from app.uploads.multipart import FIELD
from app.urls import API
from app.web.caching import PRIVATE
from app.web.security import refuse_cross_site

CREATED: Responses = {
    **NOT_FOUND,
    201: {"model": common.NewUploadOut, "description": "kept; Location is its page"},
    400: problem("the connection broke off"),
    403: problem("sent by another site's page, or a picture that the operator blocks"),
    408: problem("the picture did not arrive in time"),
    413: problem("too many bytes, pixels, frames or scans"),
    415: problem("not multipart; not JPEG, PNG, WebP or GIF; or something else as well"),
    422: problem("no field `image`, an empty file or a damaged picture"),
    429: problem("too many from this address: see Retry-After"),
    503: problem("no encoder here, busy, or a disk that cannot be written to"),
    507: problem("the disk is full"),
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
DeleteKey = Annotated[str, Header(alias="Delete-Key", description="the delete_key of the 201 answer")]

router = APIRouter(tags=["uploads"])


@router.post(
    API + "/{index}/uploads",
    status_code=201,
    summary="Take a picture apart",
    responses=CREATED,
    openapi_extra=BODY,
)
async def create(request: Request, site: SiteDep, index: IndexDep) -> Response:
    kept = await receive_upload(request, site, index)
    return created_response(kept, site.json_urls)


@router.get(
    API + "/{index}/uploads/{upload_id}",
    summary="One upload",
    response_description=FOUND,
    responses={**ERRORS, **GONE},
)
def read(site: SiteDep, index: IndexDep, upload_id: UploadPath, response: Response) -> common.UploadOut:
    response.headers.update(PRIVATE)
    return upload_out(site.uploads.get(index.slug, upload_id), site.json_urls)


@router.delete(
    API + "/{index}/uploads/{upload_id}",
    status_code=204,
    summary="Delete an upload",
    response_description="deleted; its address answers 410 from now on",
    responses={
        **ERRORS,
        **GONE,
        403: problem("not the key it was given, or sent by another site's page"),
        503: problem("shown to nobody from now on, but still on the disk"),
    },
)
def delete(
    request: Request, site: SiteDep, index: IndexDep, upload_id: UploadPath, delete_key: DeleteKey = ""
) -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    site.uploads.delete(index.slug, upload_id, delete_key)
    return Response(status_code=204, headers=PRIVATE)
