"""What a reader answers with: plain frozen values, the same for pages, JSON and notebooks."""

from dataclasses import dataclass
from typing import Literal

from scopeview.slots import Layer, Token

MIN_GRID_IMAGES = 9
"""A feature has a 3 x 3 grid, and counts as *active*, when it fires on at least this many indexed images."""

Sort = Literal["feature", "density", "max", "random"]
SORTS: tuple[Sort, ...] = ("feature", "density", "max", "random")


@dataclass(frozen=True)
class Histogram:
    """Counts over equal slices of (0, max]: `counts[i]` holds `edges[i] < activation <= edges[i + 1]`."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class TopImage:
    """One image at its rank among those that fire a feature."""

    rank: int  # 1 is the highest activation; equal activations rank by image id
    image_id: int
    key: str
    activation: float
    position: int | None  # for the token `any`: the token number at which the maximum was reached
    caption: str | None
    source_url: str | None
    punsafe: float | None


class _Counted:
    """What follows from the two counts that every feature carries."""

    n_images: int
    n_active: int

    @property
    def density(self) -> float:
        """Images on which it fires / images indexed."""
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
    """What a gallery needs of a feature."""

    layer: Layer
    token: Token
    feature: int
    n_images: int
    n_active: int
    max_activation: float | None
    top_image_ids: list[int]  # at most nine


@dataclass(frozen=True)
class SlotSummary:
    """How many of a slot's features ever fire."""

    layer: Layer
    token: Token
    n_features: int
    n_live: int  # fire on at least one indexed image
    n_active: int  # fire on at least MIN_GRID_IMAGES


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

    A TopK SAE keeps its k largest pre-activations as they are, so a value can be zero or negative; such a
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
