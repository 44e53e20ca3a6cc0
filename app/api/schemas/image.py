"""Schemas for stored images and uploads, and for what is active in them."""

from typing import Literal

from pydantic import Field

from app.api.schemas.base import Schema
from scopeview.slots import Layer


class TopImageOut(Schema):
    rank: int = Field(description="1 is the highest activation; ties by image_id")
    image_id: int
    key: str = Field(description="the file's stem in its source, or its shard and key")
    activation: float
    position: int | None = Field(description="for the token any: the token number with the maximum")
    caption: str | None
    source_url: str | None = Field(description="http or https only; null when it is anything else")
    punsafe: float | None = Field(description="probability of being unsafe, where the source states it")
    removed: bool = Field(description="on the operator's block-list: image and caption are withheld")
    url: str
    thumb_url: str


class ImageRowOut(Schema):
    image_id: int
    key: str
    caption: str | None
    removed: bool = Field(description="on the operator's block-list: image and caption are withheld")
    url: str
    thumb_url: str


class ImagesOut(Schema):
    index: str
    n_images: int
    images: list[ImageRowOut] = Field(description="by image_id, after `after`")
    next: str | None = Field(description="URL of the next page; null on the last")


class ActiveFeatureOut(Schema):
    feature: int
    activation: float
    position: int | None = Field(description="for the token any: the token number with the maximum")


class CodeOut(Schema):
    layer: Layer
    token: str
    n_active: int = Field(description="features that fire here; for the token any it may exceed the list")
    features: list[ActiveFeatureOut] = Field(
        description="top k, highest first; a TopK SAE may keep values that are not above zero"
    )


class ImageOut(Schema):
    index: str
    image_id: int
    key: str
    caption: str | None
    source_url: str | None
    label: str | None
    width: int = Field(description="width of the original in pixels")
    height: int
    punsafe: float | None
    removed: bool = Field(description="on the operator's block-list: image and caption are withheld")
    url: str
    thumb_url: str
    codes: list[CodeOut]


class UploadOut(Schema):
    index: str
    upload_id: str
    url: str = Field(description="the page to share")
    picture_url: str = Field(description="WebP of the square that the model saw, without metadata")
    created: str
    expires: str = Field(description="UTC, ISO 8601; afterwards 410")
    grey_16_bit: Literal["scaled", "clipped"] | None = Field(
        description="how a 16-bit grayscale file became 8-bit; null for all other files"
    )
    codes: list[CodeOut]


class NewUploadOut(UploadOut):
    delete_key: str = Field(description="given once; send it as the header Delete-Key with DELETE")
