"""Schemas for one image: activations, heatmaps, groups and steering."""

from typing import Literal

from pydantic import Field

from app.api.schemas.base import Schema
from scopeview.slots import Layer

TOKENS = "`any`, `cls`, or token numbers such as 17,33-35, normalized"


class ImageIdOut(Schema):
    """The image of a response."""

    index: str
    image_id: int | None = Field(description="null for an upload")
    upload_id: str | None = Field(description="null for an indexed image")


class ImageViewOut(ImageIdOut):
    """An image, a layer and the selected tokens."""

    layer: Layer
    tokens: str = Field(description=TOKENS)
    approximate: bool = Field(
        description="true where a value was recomputed from the thumbnail of an indexed image, which"
        " is lossy: the index does not store it"
    )


class ReconstructionOut(Schema):
    """Means over the selected tokens, in the SAE's own input space."""

    explained_variance: float | None = Field(
        description="1 − squared error / variance of a token, mean over the selected tokens"
    )
    mse: float = Field(description="squared error summed over dimensions, mean over the selected tokens")
    l0: float = Field(description="active features per token, mean over the selected tokens")


class ResidualOut(Schema):
    """Reconstruction error of every token of the layer: CLS, then the patches row by row."""

    explained_variance: list[float | None]
    mse: list[float | None]
    l0: list[int]


class ActiveFeatureHereOut(Schema):
    feature: int
    activation: float = Field(description="maximum over the selected tokens")
    position: int = Field(description="first token with the maximum; 0 is CLS")
    n_tokens: int = Field(description="number of selected tokens at which it fires")
    mass: float = Field(description="activation × decoder norm, summed over the selected tokens")
    share: float = Field(description="share of the mass of all features active here")
    url: str


class ActivationsOut(ImageViewOut):
    n_tokens: int = Field(description="number of selected tokens")
    n_active: int = Field(description="active features, listed or not")
    mass: float = Field(description="total mass of the active features")
    features: list[ActiveFeatureHereOut]
    activations: Literal["stored", "approximate"] = Field(
        description="for `features`: stored by the index or the upload, or approximate; at `any`, stored"
        " covers the maximum and its position, while n_tokens, mass and share may be approximate"
    )
    approximate_features: list[ActiveFeatureHereOut] = Field(
        description="weaker than all of `features`, with approximate activations; only for an index whose"
        " shards have lost their codes at `any`"
    )
    explained: ReconstructionOut
    residual: ResidualOut


class ImageHeatmapOut(ImageViewOut):
    features: list[int]
    unit: str = Field(description="activation for one feature, mass (summed) for several")
    cls: float
    patches: list[float] = Field(description="row by row from the top left")
    max: float


class GroupOut(Schema):
    share: float = Field(description="share of the mass of all features active here")
    mass: float
    features: list[int] = Field(
        description="largest mass first; every active feature is in exactly one group"
    )
    masses: list[float]


class GroupsOut(ImageViewOut):
    threshold: float = Field(description="minimum share of each group")
    groups: list[GroupOut] = Field(description="largest share first")


class PromptOut(Schema):
    prompt: str
    before: float = Field(description="probability of this prompt among all prompts")
    after: float


class NearImageOut(Schema):
    image_id: int
    cosine: float
    url: str
    thumb_url: str


class SteeringOut(ImageViewOut):
    edits: list[str] = Field(description="as parsed")
    cosine: float = Field(description="cosine of the image embeddings without and with the edits")
    prompts: list[PromptOut]
    unknown_words: list[str] = Field(description="words of the prompts that the model does not know")
    why_no_prompts: str | None = Field(description="why texts cannot be compared here; null where they can")
    nearest_before: list[NearImageOut] = Field(description="indexed images by CLIP embedding, nearest first")
    nearest_after: list[NearImageOut]
