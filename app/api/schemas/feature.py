"""Schemas for one feature at one token."""

from pydantic import Field

from app.api.schemas.base import Schema
from app.api.schemas.image import TopImageOut
from app.api.schemas.index import ProvenanceOut
from scopeview.slots import Layer
from scopeview.store.records import NeighborKind


class HistogramOut(Schema):
    edges: list[float] = Field(description="equal intervals of (0, max]; one more than counts")
    counts: list[int] = Field(description="counts[i]: images with edges[i] < activation <= edges[i + 1]")


class NameOut(Schema):
    word: str
    score: float = Field(description="cosine of the word's text embedding and the feature's vector")


class NeighborOut(Schema):
    kind: NeighborKind = Field(
        description="decoder: cosine of decoder rows; cofiring: images on which both fire / images on which"
        " either fires; vector: cosine of feature vectors"
    )
    layer: Layer
    feature: int
    score: float
    name: str | None = Field(description="best name of the neighbor")
    n_active: int
    density: float
    max_activation: float | None
    url: str


class AtTokenOut(Schema):
    token: str
    n_active: int
    density: float
    top_image_ids: list[int] = Field(description="at most nine, by rank")
    n_shared: int = Field(description="how many of them are also in the top nine at this token")
    n_compared: int = Field(description="maximum of n_shared: nine, or fewer where it fires on fewer images")
    url: str


class ExampleOut(Schema):
    rank: int = Field(description="rank among all images on which it fires")
    image_id: int
    activation: float
    thumb_url: str


class IntervalOut(Schema):
    low: float
    high: float
    n_images: int = Field(description="images with low < activation <= high")
    of_firing: float = Field(description="n_images / images on which it fires")
    of_all: float = Field(description="n_images / images in the index")
    images: list[ExampleOut] = Field(description="evenly spaced sample by rank")


class PositionsOut(Schema):
    """Images by the position of the feature's maximum over all tokens; equal at every token of the layer."""

    grid: int = Field(description="patches per side")
    counts: list[int] = Field(description="by patch, row by row from the top left")
    at_cls: int | None = Field(description="images whose maximum is at CLS")


class DescriptionOut(Schema):
    clarity: float | None = Field(
        description="mean pairwise cosine of the CLIP embeddings of its top nine images, without self-pairs"
    )
    label_entropy: float | None = Field(
        description="in nats, of its activation over the labels of its top 20 images; null without labels"
    )
    selectivity: float | None = Field(
        description="0: maximum spread evenly over the patches; 1: always at one patch; null without `any`"
    )
    failed: list[str] = Field(description="metrics whose computation failed; null here")


class FeatureOut(Schema):
    index: str
    layer: Layer
    token: str
    feature: int
    url: str
    n_images: int = Field(description="images in the index")
    n_active: int = Field(description="images on which the activation is above zero")
    density: float = Field(description="n_active / n_images, exact")
    max_activation: float | None = Field(description="null when it never fires")
    mean_activation: float | None = Field(description="over the images on which it fires; null when none")
    histogram: HistogramOut
    grid_url: str | None = Field(description="3 x 3 sprite of the top nine images; null below nine images")
    top_images: list[TopImageOut]
    folds: list[int] = Field(
        description="for each of top_images, the rank of the image that it nearly duplicates, or its own;"
        " empty where unknown"
    )
    names: list[NameOut] = Field(description="best first; empty without names")
    neighbors: list[NeighborOut] = Field(
        description="best first within a kind and layer; empty where descriptions were not computed"
    )
    description: DescriptionOut | None = Field(description="null where descriptions were not computed")
    tokens: list[AtTokenOut] = Field(description="the same feature at every token of the layer")
    positions: PositionsOut | None = Field(description="null where the token any was not indexed")
    intervals: list[IntervalOut] = Field(description="equal intervals of (0, max], highest first")
    previous: int | None = Field(description="previous feature that fires at this token")
    following: int | None = Field(description="next feature that fires at this token")
    provenance: ProvenanceOut


class FeatureImagesOut(Schema):
    index: str
    layer: Layer
    token: str
    feature: int
    n_active: int
    images: list[TopImageOut] = Field(description="by rank, starting at offset + 1")
    next: str | None = Field(description="URL of the next page; null on the last")
