"""Schemas for an index: its model, layers, slots and gallery."""

from pydantic import Field

from app.api.schemas.base import Schema
from scopeview.slots import Layer


class ModelOut(Schema):
    ref: str = Field(description="Hugging Face id or local folder, as given to the indexer")
    revision: str | None = Field(description="commit hash; null for a local folder")
    sha256: str = Field(description="hash of the weight file")
    n_layers: int
    width: int
    image_px: int
    patch_px: int
    random_weights: bool = Field(description="true for untrained weights: features have no meaning")


class FiguresOut(Schema):
    explained_variance: float = Field(
        description="1 − squared error / variance over the dimensions of a token, mean over tokens"
    )
    mse: float = Field(
        description="squared error summed over dimensions, mean over tokens, in the SAE's input space"
    )
    l0: float = Field(description="mean number of active features per token")
    n_tokens: int = Field(description="tokens on which this was measured")


class FeatureCardOut(Schema):
    feature: int
    n_active: int
    density: float
    max_activation: float | None
    name: str | None = Field(description="best name; null without names")
    name_score: float | None = Field(description="cosine of the name and the feature's vector")
    clarity: float | None = Field(description="mean pairwise cosine of the embeddings of its top nine images")
    selectivity: float | None = Field(
        description="0: maximum spread evenly over the patches; 1: always at one patch"
    )
    top_image_ids: list[int] = Field(description="at most nine, by rank")
    grid_url: str | None
    url: str


class DensityBinOut(Schema):
    low: int = Field(description="minimum number of images")
    high: int = Field(description="maximum number of images")
    n_features: int = Field(description="features in this range")


class PublishedOut(Schema):
    explained_variance: float
    mse: float


class SlotOut(Schema):
    token: str
    n_features: int
    n_live: int = Field(description="features that fire on at least one image")
    n_active: int = Field(description="features that fire on at least nine images")
    n_dead: int = Field(description="features that fire on no indexed image")
    densities: list[DensityBinOut] = Field(
        description="features that fire, by number of images; bins double in width"
    )
    url: str = Field(description="URL of the gallery")


class LayerOut(Schema):
    layer: Layer
    sae: str = Field(description="Hugging Face id or local folder of the suite")
    sae_revision: str | None
    sae_file: str
    sae_sha256: str
    architecture: str
    d_in: int
    n_features: int
    k: int | None = Field(description="null for a ReLU SAE")
    normalization: str
    figures: FiguresOut | None = Field(description="null where not measured")
    published: PublishedOut | None = Field(
        description="published by the SAE's authors; null where there are none"
    )
    tokens: list[SlotOut]
    striking: list[FeatureCardOut] = Field(
        description="at the first token: high clarity and name score, different names; or a sample"
    )


class IndexSummaryOut(Schema):
    index: str = Field(description="index name, the first path segment of its URLs")
    url: str
    n_images: int
    dataset: str
    created: str = Field(description="UTC, ISO 8601")
    random_weights: bool


class IndexesOut(Schema):
    indexes: list[IndexSummaryOut]


class IndexOut(IndexSummaryOut):
    skipped: dict[str, int] = Field(description="skipped samples by reason")
    dtype: str = Field(description="precision of the model while indexing")
    model: ModelOut
    layers: list[LayerOut]


class ProvenanceOut(Schema):
    model: str
    model_revision: str | None
    sae: str = Field(description="suite and checkpoint file")
    sae_sha256: str
    normalization: str
    dataset: str
    created: str


class GalleryOut(Schema):
    index: str
    layer: Layer
    token: str
    n_features: int
    n_live: int = Field(description="features that fire on at least one image")
    n_active: int = Field(description="features that fire on at least nine images")
    n_matching: int = Field(description="features that match the filters, on all pages")
    n_images: int
    features: list[FeatureCardOut]
    next: str | None = Field(description="URL of the next page; null on the last")
