"""Shared schemas. A layer is an int or "embed", a token always a string, and every float is finite."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from scopeview.slots import Layer


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ModelOut(_Model):
    ref: str = Field(description="Hugging Face id or local folder, as given to the indexer")
    revision: str | None = Field(description="commit hash; null for a local folder")
    sha256: str = Field(description="hash of the weight file")
    n_layers: int
    width: int
    image_px: int
    patch_px: int
    random_weights: bool = Field(description="true for untrained weights: features have no meaning")


class FiguresOut(_Model):
    explained_variance: float = Field(
        description="1 − squared error / variance over the dimensions of a token, mean over tokens"
    )
    mse: float = Field(
        description="squared error summed over dimensions, mean over tokens, in the SAE's input space"
    )
    l0: float = Field(description="mean number of active features per token")
    n_tokens: int = Field(description="tokens on which this was measured")


class FeatureCardOut(_Model):
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


class DensityBinOut(_Model):
    low: int = Field(description="minimum number of images")
    high: int = Field(description="maximum number of images")
    n_features: int = Field(description="features in this range")


class PublishedOut(_Model):
    explained_variance: float
    mse: float


class SlotOut(_Model):
    token: str
    n_features: int
    n_live: int = Field(description="features that fire on at least one image")
    n_active: int = Field(description="features that fire on at least nine images")
    n_dead: int = Field(description="features that fire on no indexed image")
    densities: list[DensityBinOut] = Field(
        description="features that fire, by number of images; bins double in width"
    )
    url: str = Field(description="URL of the gallery")


class LayerOut(_Model):
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


class IndexSummaryOut(_Model):
    index: str = Field(description="index name, the first path segment of its URLs")
    url: str
    n_images: int
    dataset: str
    created: str = Field(description="UTC, ISO 8601")
    random_weights: bool


class IndexesOut(_Model):
    indexes: list[IndexSummaryOut]


class IndexOut(IndexSummaryOut):
    skipped: dict[str, int] = Field(description="skipped samples by reason")
    dtype: str = Field(description="precision of the model while indexing")
    model: ModelOut
    layers: list[LayerOut]


class TopImageOut(_Model):
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


class ProvenanceOut(_Model):
    model: str
    model_revision: str | None
    sae: str = Field(description="suite and checkpoint file")
    sae_sha256: str
    normalization: str
    dataset: str
    created: str


class GalleryOut(_Model):
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


class ImageRowOut(_Model):
    image_id: int
    key: str
    caption: str | None
    removed: bool = Field(description="on the operator's block-list: image and caption are withheld")
    url: str
    thumb_url: str


class ImagesOut(_Model):
    index: str
    n_images: int
    images: list[ImageRowOut] = Field(description="by image_id, after `after`")
    next: str | None = Field(description="URL of the next page; null on the last")


class ActiveFeatureOut(_Model):
    feature: int
    activation: float
    position: int | None = Field(description="for the token any: the token number with the maximum")


class CodeOut(_Model):
    layer: Layer
    token: str
    n_active: int = Field(description="features that fire here; for the token any it may exceed the list")
    features: list[ActiveFeatureOut] = Field(
        description="top k, highest first; a TopK SAE may keep values that are not above zero"
    )


class ImageOut(_Model):
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


class UploadOut(_Model):
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
