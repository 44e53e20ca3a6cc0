"""The query string of a search, for the page and its JSON alike."""

from typing import Annotated

from fastapi import Depends, Query

from app.pages.image.overview import LayerQuery
from app.pages.image_slots import shown
from app.params.common import IndexDep, Number, TokenQuery
from app.params.query_text import MAX_CHARS
from app.services.search import Query as Asked

TextQuery = Annotated[
    str, Query(max_length=MAX_CHARS, description=f"words or a feature number, at most {MAX_CHARS}")
]
NearQuery = Annotated[str | None, Query(description="layer of a number without one")]
ImageQuery = Annotated[Number | None, Query(description="search by this indexed image instead of words")]
UploadQuery = Annotated[str | None, Query(description="search by this upload instead of words")]


async def asked_of(
    index: IndexDep,
    q: TextQuery = "",
    layer: LayerQuery = None,
    token: TokenQuery = None,
    near: NearQuery = None,
    image: ImageQuery = None,
    upload: UploadQuery = None,
) -> Asked:
    """Raises a 422 naming the layers or tokens there are."""
    where, nearby = shown(index, layer, token), shown(index, near, None)
    return Asked(
        token=where.token,
        layer=where.layer,
        near=nearby.layer,
        text=q.strip(),
        image_id=image,
        upload_id=upload,
    )


AskedDep = Annotated[Asked, Depends(asked_of)]
