"""The shapes of `/api/v1`. A layer is an int or "embed", a token always a string, and every float finite."""

from pydantic import BaseModel, ConfigDict, Field

from scopeview.slots import Layer


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class ModelOut(_Model):
    ref: str = Field(description="Hugging Face id or local folder, as given to the indexer")
    revision: str | None = Field(description="commit hash; null for a local folder")
    sha256: str = Field(description="of the weight file")
    n_layers: int
    width: int
    image_px: int
    patch_px: int
    random_weights: bool = Field(description="true while nothing was trained: features mean nothing")


class FiguresOut(_Model):
    explained_variance: float = Field(description="across the dimensions of one token, mean over tokens")
    mse: float = Field(description="summed over dimensions, mean over tokens, in the SAE's own input space")
    l0: float = Field(description="mean number of features with a positive value at a token")
    n_tokens: int = Field(description="tokens the figures were measured on")


class FeatureCardOut(_Model):
    feature: int
    n_active: int
    density: float
    max_activation: float | None
    name: str | None = Field(description="its best name; null where it has none")
    name_score: float | None = Field(description="cosine of the name and the feature's vector")
    clarity: float | None = Field(description="mean cosine of the embeddings of its nine top images")
    selectivity: float | None = Field(description="0: fires anywhere in the picture; 1: always at one patch")
    top_image_ids: list[int] = Field(description="at most nine, by rank")
    grid_url: str | None
    url: str


class DensityBinOut(_Model):
    low: int = Field(description="images, at least")
    high: int = Field(description="images, at most")
    n_features: int = Field(description="features that fire on so many images")


class PublishedOut(_Model):
    explained_variance: float
    mse: float


class SlotOut(_Model):
    token: str
    n_features: int
    n_live: int = Field(description="features that fire on at least one image")
    n_active: int = Field(description="features that fire on at least nine images")
    n_dead: int = Field(description="features that fire on no indexed image")
    densities: list[DensityBinOut] = Field(description="live features by images they fire on; bins double")
    url: str = Field(description="the gallery")


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
    figures: FiguresOut | None = Field(description="null where they were not measured")
    published: PublishedOut | None = Field(description="by the SAE's authors; null where there are none")
    tokens: list[SlotOut]
    striking: list[FeatureCardOut] = Field(
        description="at the first token: clearest and best named, of names unlike each other; or a sample"
    )


class IndexSummaryOut(_Model):
    index: str = Field(description="the slug: first segment of every URL of the index")
    url: str
    n_images: int
    dataset: str
    created: str = Field(description="UTC, ISO 8601")
    random_weights: bool


class IndexesOut(_Model):
    indexes: list[IndexSummaryOut]


class IndexOut(IndexSummaryOut):
    skipped: dict[str, int] = Field(description="samples that were left out, by reason")
    dtype: str = Field(description="precision of the model while indexing")
    model: ModelOut
    layers: list[LayerOut]


class TopImageOut(_Model):
    rank: int = Field(description="1 is the highest activation; equal ones rank by image_id")
    image_id: int
    key: str = Field(description="the file's stem in its source, or its shard and key")
    activation: float
    position: int | None = Field(description="for the token any: the token number with the maximum")
    caption: str | None
    source_url: str | None = Field(description="http or https only; null when it is anything else")
    punsafe: float | None = Field(description="probability of being unsafe, where the source states it")
    removed: bool = Field(description="on the operator's block-list: its picture and words are withheld")
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
    n_matching: int = Field(description="features that pass the filters, on all pages")
    n_images: int
    features: list[FeatureCardOut]
    next: str | None = Field(description="URL of the next page; null on the last")


class ImageRowOut(_Model):
    image_id: int
    key: str
    caption: str | None
    removed: bool = Field(description="on the operator's block-list: its picture and words are withheld")
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
        description="the k strongest, highest first; a TopK SAE may keep values that are not above zero"
    )


class ImageOut(_Model):
    index: str
    image_id: int
    key: str
    caption: str | None
    source_url: str | None
    label: str | None
    width: int = Field(description="of the original, in pixels")
    height: int
    punsafe: float | None
    removed: bool = Field(description="on the operator's block-list: its picture and words are withheld")
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
    codes: list[CodeOut]


class NewUploadOut(UploadOut):
    delete_key: str = Field(description="told this once; send it as the header Delete-Key to DELETE")
