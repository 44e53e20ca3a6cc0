"""The shapes of `/api/v1/{index}/search`."""

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas.common import ImageRowOut
from scopeview.slots import Layer


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class FeatureRefOut(_Model):
    layer: Layer
    token: str
    feature: int
    name: str | None = Field(description="its best name; null where it has none")
    n_active: int
    density: float
    max_activation: float | None
    grid_url: str | None
    url: str


class FoundFeatureOut(FeatureRefOut):
    score: float | None = Field(
        description="cosine of the query with the feature's vector; of a name, of the name; null for a number"
    )
    matched: str | None = Field(description="the name that has the words in it; null where it is not by name")


class FoundImageOut(ImageRowOut):
    score: float = Field(description="cosine of the query with the image's CLIP embedding")


class SearchOut(_Model):
    index: str
    text: str = Field(description="the words asked for; empty where a picture was")
    image_id: int | None
    upload_id: str | None
    layer: Layer | None = Field(description="the only layer searched; null for all")
    token: str = Field(description="a layer without it is searched at its first")
    jump: str | None = Field(description="where the page leads at once, since one feature is named by number")
    numbered: list[FoundFeatureOut] = Field(description="features of that number, by layer")
    named: list[FoundFeatureOut] = Field(description="with the words in their best name, surest first")
    features: list[FoundFeatureOut] = Field(description="nearest in CLIP's space, best first")
    also_named: list[FoundFeatureOut] = Field(
        description="with these letters in another of their names, better names first"
    )
    images: list[FoundImageOut] = Field(description="nearest in CLIP's space, best first")
    unknown_words: list[str] = Field(description="of the words asked for, that the model does not know")
    matches_well: bool | None = Field(
        description="false where even the nearest feature is farther from the words than nine in ten features"
        " are from their own names; null where words were not compared"
    )
    why_not: str | None = Field(description="why nothing was looked for in CLIP's space; null where it was")
