"""The shapes of `/api/v1` for one feature at one token."""

from pydantic import Field

from app.api.schemas.common import ProvenanceOut, TopImageOut, _Model
from scopeview.slots import Layer
from scopeview.store.records import NeighborKind


class HistogramOut(_Model):
    edges: list[float] = Field(description="equal slices of (0, max]; one more than counts")
    counts: list[int] = Field(description="counts[i]: images with edges[i] < activation <= edges[i + 1]")


class NameOut(_Model):
    word: str
    score: float = Field(description="cosine of the word's text embedding and the feature's vector")


class NeighborOut(_Model):
    kind: NeighborKind = Field(
        description="decoder: cosine of decoder rows; cofiring: images on which both fire / images on which"
        " either fires; vector: cosine of feature vectors"
    )
    layer: Layer
    feature: int
    score: float
    name: str | None = Field(description="the neighbour's best name")
    n_active: int
    density: float
    max_activation: float | None
    url: str


class AtTokenOut(_Model):
    token: str
    n_active: int
    density: float
    top_image_ids: list[int] = Field(description="at most nine, by rank")
    n_shared: int = Field(description="of those, how many are also among the nine highest at this token")
    n_compared: int = Field(description="the most that n_shared can be: nine, or fewer where it fires less")
    url: str


class ExampleOut(_Model):
    rank: int = Field(description="among all images on which it fires")
    image_id: int
    activation: float
    thumb_url: str


class IntervalOut(_Model):
    low: float
    high: float
    n_images: int = Field(description="images with low < activation <= high")
    of_firing: float = Field(description="n_images / images on which it fires")
    of_all: float = Field(description="n_images / images in the index")
    images: list[ExampleOut] = Field(description="an even sample of them by rank")


class PositionsOut(_Model):
    """Images by the place of the feature's maximum over all tokens; the same at every token of the layer."""

    grid: int = Field(description="patches on a side")
    counts: list[int] = Field(description="by patch, row by row from the top left")
    at_cls: int | None = Field(description="images whose maximum is at CLS")


class DescriptionOut(_Model):
    clarity: float | None = Field(
        description="mean pairwise cosine of the CLIP embeddings of its nine highest images, no self-pairs"
    )
    label_entropy: float | None = Field(
        description="nats, of its activation by label over its 20 highest images; null without labels"
    )
    selectivity: float | None = Field(
        description="0: its maximum lies evenly over all patches; 1: always at one; null without `any`"
    )
    failed: list[str] = Field(description="figures whose computation failed: null here, words on the page")


class FeatureOut(_Model):
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
    grid_url: str | None = Field(description="3 x 3 sprite of the nine highest; null below nine images")
    top_images: list[TopImageOut]
    folds: list[int] = Field(
        description="for each of top_images the rank of the first one that it nearly duplicates, or its own;"
        " empty where that is not known"
    )
    names: list[NameOut] = Field(description="best first; empty where the index has none for it")
    neighbors: list[NeighborOut] = Field(
        description="best first within a kind and layer; empty where the index was not described"
    )
    description: DescriptionOut | None = Field(description="null where the index was not described")
    tokens: list[AtTokenOut] = Field(description="the same feature at every token of the layer")
    positions: PositionsOut | None = Field(description="null where the token any was not indexed")
    intervals: list[IntervalOut] = Field(description="equal slices of (0, max], highest first")
    previous: int | None = Field(description="the nearest lower feature that fires at this token")
    following: int | None = Field(description="the nearest higher feature that fires at this token")
    provenance: ProvenanceOut


class FeatureImagesOut(_Model):
    index: str
    layer: Layer
    token: str
    feature: int
    n_active: int
    images: list[TopImageOut] = Field(description="by rank, from offset + 1 on")
    next: str | None = Field(description="URL of the next page; null on the last")
