"""`/api/v1/{index}/uploads`: upload an image, read its features, delete it."""

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from starlette.requests import Request

from app.api.responses import ERRORS, FOUND, GONE, NOT_FOUND, Responses, problem
from app.api.schemas.image import NewUploadOut, UploadOut
from app.api.serializers.store_records import upload_out
from app.params.dependencies import IndexDep, SiteDep
from app.services.images import UploadPath
from app.services.receive_upload import created_response, receive_upload
from app.uploads.multipart import FIELD
from app.urls import API
from app.web.caching import PRIVATE
from app.web.security import refuse_cross_site

CREATED: Responses = {
    **NOT_FOUND,
    201: {"model": NewUploadOut, "description": "stored; Location is its page"},
    400: problem("the connection broke off"),
    403: problem("sent from another site, or an image that the operator blocked"),
    408: problem("the image did not arrive in time"),
    413: problem("too many bytes, pixels, frames or scans"),
    415: problem("not multipart; not JPEG, PNG, WebP or GIF; or also another file type"),
    422: problem("no field `image`, an empty file or a damaged image"),
    429: problem("too many from this address: see Retry-After"),
    503: problem("no model on this server, busy, or disk not writable"),
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
DeleteKey = Annotated[str, Header(alias="Delete-Key", description="delete_key from the 201 response")]

router = APIRouter(tags=["uploads"])


@router.post(
    API + "/{index}/uploads",
    status_code=201,
    summary="Analyze an image",
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
def read(site: SiteDep, index: IndexDep, upload_id: UploadPath, response: Response) -> UploadOut:
    response.headers.update(PRIVATE)
    return upload_out(site.uploads.get(index.slug, upload_id), site.json_urls)


@router.delete(
    API + "/{index}/uploads/{upload_id}",
    status_code=204,
    summary="Delete an upload",
    response_description="deleted; its address now returns 410",
    responses={
        **ERRORS,
        **GONE,
        403: problem("wrong delete key, or sent from another site"),
        503: problem("no longer shown, but not yet removed from disk"),
    },
)
def delete(
    request: Request, site: SiteDep, index: IndexDep, upload_id: UploadPath, delete_key: DeleteKey = ""
) -> Response:
    refuse_cross_site(request.headers, site.settings.base_url)
    site.uploads.delete(index.slug, upload_id, delete_key)
    return Response(status_code=204, headers=PRIVATE)
