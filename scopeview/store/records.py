"""The reader's results: plain frozen values, the same for pages, JSON and notebooks."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, Int32

from scopeview.slots import Layer, Token

MIN_GRID_IMAGES = 9
"""A feature has a 3 x 3 grid, and counts as *active*, when it fires on at least this many indexed images."""

Sort = Literal["feature", "density", "max", "clarity", "score", "selectivity", "random"]
SORTS: tuple[Sort, ...] = ("feature", "density", "max", "clarity", "score", "selectivity", "random")
"""`clarity`, `score` (of the best name) and `selectivity`: highest first, unknown values last."""

NeighborKind = Literal["decoder", "cofiring", "vector"]
NEIGHBOR_KINDS: tuple[NeighborKind, ...] = ("decoder", "cofiring", "vector")


@dataclass(frozen=True)
class Histogram:
    """Counts in equal slices of (0, max]: `counts[i]` has `edges[i] < activation <= edges[i + 1]`."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class TopImage:
    """An image and its rank among the images on which a feature fires."""

    rank: int  # 1 is the highest activation; equal activations rank by image id
    image_id: int
    key: str
    activation: float
    position: int | None  # for the token `any`: the token number at which the maximum was reached
    caption: str | None
    source_url: str | None
    punsafe: float | None


class _Counted:
    """Properties derived from the two counts that every feature has."""

    n_images: int
    n_active: int

    @property
    def density(self) -> float:
        """The number of images on which the feature fires, divided by the number of images indexed."""
        return self.n_active / self.n_images if self.n_images else 0.0

    @property
    def has_grid(self) -> bool:
        return self.n_active >= MIN_GRID_IMAGES


@dataclass(frozen=True)
class FeatureRecord(_Counted):
    """One feature at one token. `max_activation` and `mean_activation` are None when it never fires."""

    layer: Layer
    token: Token
    feature: int
    n_images: int
    n_active: int  # images on which the activation is above zero
    max_activation: float | None
    mean_activation: float | None  # over the images on which it fires
    histogram: Histogram
    top_images: list[TopImage]


@dataclass(frozen=True)
class FeatureCard(_Counted):
    """The values on a feature's card in a gallery."""

    layer: Layer
    token: Token
    feature: int
    n_images: int
    n_active: int
    max_activation: float | None
    top_image_ids: list[int]  # at most nine
    punsafe: float | None = None  # the highest of those images; None where nothing is known of them
    name: str | None = None  # the best one; None where the feature has no names
    name_score: float | None = None  # its cosine
    clarity: float | None = None  # as in `Description`
    selectivity: float | None = None  # as in `Description`


@dataclass(frozen=True)
class Name:
    """A word of the vocabulary that lies near a feature's vector."""

    word: str
    score: float  # cosine of the word's text embedding and the feature's vector


class NameMatch(NamedTuple):
    """A feature that has a name containing certain words."""

    feature: int
    rank: int  # of that name among the feature's names; 1 is the best
    word: str  # that name
    score: float  # its cosine
    is_its_name: bool  # the best name, with the words as whole words: not "cat" in "cathedral"


@dataclass(frozen=True)
class Neighbor:
    """A feature that resembles another one, in one of three ways.

    `decoder`: cosine of the two decoder rows; never between `embed` and a block, which have different widths.
    `cofiring`: images on which both fire / images on which either fires, at the same token.
    `vector`: cosine of the two feature vectors.
    """

    kind: NeighborKind
    layer: Layer
    feature: int
    score: float


@dataclass(frozen=True)
class Description:
    """The description of one feature at one token.

    Only active features have names, a clarity, a label entropy, neighbors and a place on the map.
    """

    names: list[Name]  # best first, at most 5; empty where there is no text encoder
    clarity: float | None  # mean pairwise cosine of the CLIP embeddings of its top 9 images, no self-pairs
    label_entropy: float | None  # nats, of activation by label over the top 20 images; None without labels
    selectivity: (
        float | None
    )  # 0: its maximum is anywhere, evenly; 1: always at one patch. None without `any`
    positions: list[int] | None  # by patch, row-major: images whose maximum is there; None without `any`
    at_cls: int | None  # images whose maximum is at CLS; None without `any`
    folds: list[int]  # by top image: rank of the first one that it nearly duplicates, or its own
    within: list[Neighbor]  # in the same layer: at most 8 of each kind, best first
    across: list[Neighbor]  # in other layers: at most 3 of each kind and layer, best first
    x: float | None  # its place on the slot's map, in [0, 1]
    y: float | None


@dataclass(frozen=True)
class Points:
    """All active features of a slot as columns, in ascending order; NaN where a value is unknown."""

    feature: Int32[np.ndarray, " point"]
    n_active: Int32[np.ndarray, " point"]
    max_activation: Float32[np.ndarray, " point"]
    clarity: Float32[np.ndarray, " point"]
    selectivity: Float32[np.ndarray, " point"]
    name_score: Float32[np.ndarray, " point"]
    name: list[str | None]  # the best one
    x: Float32[np.ndarray, " point"]
    y: Float32[np.ndarray, " point"]


@dataclass(frozen=True)
class ActivatingImages:
    """All images on which a feature fires, by rank."""

    image_id: Int32[np.ndarray, " rank"]
    activation: Float32[np.ndarray, " rank"]
    position: Int16[np.ndarray, " rank"] | None  # for the token `any`, as in `TopImage`


@dataclass(frozen=True)
class Interval:
    """One of the equal slices of (0, max] of a feature's activation: low < activation <= high."""

    low: float
    high: float
    n_images: int  # images in it, shown or not
    images: list[TopImage]  # an even sample of them by rank; each keeps its rank among all


class Hit(NamedTuple):
    """One result of a search by vector."""

    number: int  # of the feature or the image
    cosine: float


@dataclass(frozen=True)
class SlotSummary:
    """The number of features of a slot, and how many of them fire."""

    layer: Layer
    token: Token
    n_features: int
    n_live: int  # fire on at least one indexed image
    n_active: int  # fire on at least MIN_GRID_IMAGES


@dataclass(frozen=True)
class DensityBin:
    """A range of image counts, and the number of a slot's features that fire on so many images."""

    low: int  # images, at least
    high: int  # images, at most
    n_features: int


@dataclass(frozen=True)
class Gallery:
    """One page of a slot's features."""

    cards: list[FeatureCard]
    n_matching: int  # features that pass the filter, on all pages


@dataclass(frozen=True)
class ActiveFeature:
    """One (feature, value) pair of a code."""

    feature: int
    activation: float
    position: int | None  # for the token `any`


@dataclass(frozen=True)
class Code:
    """The strongest k features of one image at one slot, highest activation first.

    A TopK SAE keeps its k largest pre-activations unchanged, so a value can be zero or negative; such a
    feature does not fire. At `any` these are the k largest of `n_active` features that fire at some token.
    """

    layer: Layer
    token: Token
    n_active: int
    features: list[ActiveFeature]


@dataclass(frozen=True)
class ImageRow:
    """One indexed image without its codes."""

    image_id: int
    key: str
    caption: str | None
    source_url: str | None
    label: str | None
    width: int  # of the original, in pixels
    height: int
    punsafe: float | None


@dataclass(frozen=True)
class ImageRecord:
    """One indexed image and its code at every slot, in slot order."""

    row: ImageRow
    codes: list[Code]
