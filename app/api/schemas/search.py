"""Schemas of `/api/v1/{index}/search`."""

from pydantic import Field

from app.api.schemas.base import Schema
from app.api.schemas.image import ImageRowOut
from scopeview.slots import Layer


class FeatureRefOut(Schema):
    layer: Layer
    token: str
    feature: int
    name: str | None = Field(description="best name; null without names")
    n_active: int
    density: float
    max_activation: float | None
    grid_url: str | None
    url: str


class FoundFeatureOut(FeatureRefOut):
    score: float | None = Field(
        description="cosine of the query with the feature's vector; of a name, of the name; null for a number"
    )
    matched: str | None = Field(description="the matching name; null where the match is not by name")


class FoundImageOut(ImageRowOut):
    score: float = Field(description="cosine of the query with the image's CLIP embedding")


class SearchOut(Schema):
    index: str
    text: str = Field(description="the words of the query; empty for a search by image")
    image_id: int | None
    upload_id: str | None
    layer: Layer | None = Field(description="the only layer searched; null for all")
    token: str = Field(description="a layer without this token is searched at its first token")
    jump: str | None = Field(description="redirect target of the page, for a feature number")
    numbered: list[FoundFeatureOut] = Field(description="features with this number, by layer")
    named: list[FoundFeatureOut] = Field(
        description="features whose best name contains the words, highest name score first"
    )
    features: list[FoundFeatureOut] = Field(description="nearest in CLIP's space, highest cosine first")
    also_named: list[FoundFeatureOut] = Field(
        description="features with the words in a secondary name, highest name score first"
    )
    images: list[FoundImageOut] = Field(description="nearest in CLIP's space, highest cosine first")
    unknown_words: list[str] = Field(description="words of the query that the model does not know")
    matches_well: bool | None = Field(
        description="false where even the nearest feature is farther from the words than 90 % of features"
        " are from their own names; null where words were not compared"
    )
    why_not: str | None = Field(description="why there was no search in CLIP's space; null where there was")
