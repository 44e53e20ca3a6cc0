"""The shapes of `/api/v1` for one image: activations, heatmaps, groups and steering."""

from typing import Literal

from pydantic import Field

from app.api.schemas.common import _Model
from scopeview.slots import Layer

TOKENS = "`any`, `cls`, or token numbers such as 17,33-35: in their one spelling"


class ImageIdOut(_Model):
    """Which image."""

    index: str
    image_id: int | None = Field(description="null for an upload")
    upload_id: str | None = Field(description="null for an indexed image")


class ImageViewOut(ImageIdOut):
    """Which image, layer and tokens."""

    layer: Layer
    tokens: str = Field(description=TOKENS)
    approximate: bool = Field(
        description="true where something here was computed again from the thumbnail of an indexed image: it"
        " is lossy, and the index does not store these values"
    )


class ReconstructionOut(_Model):
    """Means over the tokens selected, in the SAE's own input space."""

    explained_variance: float | None = Field(description="across the dimensions of one token")
    mse: float = Field(description="summed over dimensions")
    l0: float = Field(description="features with a positive value")


class ResidualOut(_Model):
    """Of every token of the layer, selected or not: CLS, then the patches row by row."""

    explained_variance: list[float | None]
    mse: list[float | None]
    l0: list[int]


class ActiveFeatureHereOut(_Model):
    feature: int
    activation: float = Field(description="the highest at the tokens selected")
    position: int = Field(description="the first token that reaches it; 0 is CLS")
    n_tokens: int = Field(description="of those selected, at how many it fires")
    mass: float = Field(description="activation times the length of the decoder row, summed over the tokens")
    share: float = Field(description="of the mass of all features active here")
    url: str


class ActivationsOut(ImageViewOut):
    n_tokens: int = Field(description="tokens selected")
    n_active: int = Field(description="features that fire at some of them, listed or not")
    mass: float = Field(description="of all of these features")
    features: list[ActiveFeatureHereOut]
    activations: Literal["stored", "approximate"] = Field(
        description="of `features`: stored is what the index or the upload has of these tokens; at `any` that"
        " is the maximum and its position, while n_tokens, mass and share may be approximate"
    )
    approximate_features: list[ActiveFeatureHereOut] = Field(
        description="weaker than all of `features`, with approximate activations: only of an index whose"
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


class GroupOut(_Model):
    share: float = Field(description="of the mass of all features active here")
    mass: float
    features: list[int] = Field(description="heaviest first; every active feature is in exactly one group")
    masses: list[float]


class GroupsOut(ImageViewOut):
    threshold: float = Field(description="share that every group holds")
    groups: list[GroupOut] = Field(description="heaviest first")


class PromptOut(_Model):
    prompt: str
    before: float = Field(description="the model's probability of this prompt among all of them")
    after: float


class NearImageOut(_Model):
    image_id: int
    cosine: float
    url: str
    thumb_url: str


class SteeringOut(ImageViewOut):
    edits: list[str] = Field(description="as they were read")
    cosine: float = Field(description="of the image embedding without and with the edits")
    prompts: list[PromptOut]
    unknown_words: list[str] = Field(description="of the prompts, that the model does not know")
    why_no_prompts: str | None = Field(description="why texts cannot be compared here; null where they can")
    nearest_before: list[NearImageOut] = Field(description="indexed images by CLIP embedding, nearest first")
    nearest_after: list[NearImageOut]
