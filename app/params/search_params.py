"""Query parameters of a search, for the page and its JSON."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from app.params.dependencies import IndexDep, Number, TokenQuery
from app.params.query_text import MAX_CHARS
from app.params.view_params import AnyLayerQuery, slot_filter
from scopeview.slots import Layer, Token

TextQuery = Annotated[
    str, Query(max_length=MAX_CHARS, description=f"words or a feature number, at most {MAX_CHARS}")
]
NearQuery = Annotated[str | None, Query(description="layer of a number without one")]
ImageQuery = Annotated[Number | None, Query(description="search by this indexed image instead of words")]
UploadQuery = Annotated[str | None, Query(description="search by this upload instead of words")]


@dataclass(frozen=True)
class SearchQuery:
    """A search query: words, an indexed image or an upload."""

    token: Token
    layer: Layer | None = None  # None: all layers
    near: Layer | None = None  # a bare number means a feature of this layer
    text: str = ""
    image_id: int | None = None
    upload_id: str | None = None

    @property
    def is_empty(self) -> bool:
        return not self.text and self.image_id is None and self.upload_id is None


async def search_query(
    index: IndexDep,
    q: TextQuery = "",
    layer: AnyLayerQuery = None,
    token: TokenQuery = None,
    near: NearQuery = None,
    image: ImageQuery = None,
    upload: UploadQuery = None,
) -> SearchQuery:
    """Parses the query. Raises a 422 that names the available layers or tokens."""
    slots, nearby = slot_filter(index, layer, token), slot_filter(index, near, None)
    return SearchQuery(
        token=slots.token,
        layer=slots.layer,
        near=nearby.layer,
        text=q.strip(),
        image_id=image,
        upload_id=upload,
    )


SearchQueryDep = Annotated[SearchQuery, Depends(search_query)]
