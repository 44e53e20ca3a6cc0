"""The query string of a feature's page. Pure."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Query

from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Layer, Slot, Token

Scale = Literal["log", "linear"]
Alike = Literal["fold", "show"]

ScaleQuery = Annotated[Scale, Query(description="scale of the histogram")]
AlikeQuery = Annotated[Alike, Query(description="near-duplicate images: collapsed or shown separately")]
NearQuery = Annotated[Literal["0", "1"], Query(description="1: with neighbors")]
EmbedQuery = Annotated[Literal["0", "1"], Query(description="1: the view for embedding in other pages")]


@dataclass(frozen=True)
class FeatureUrl:
    """The state in the query. Defaults are left out of URLs, so that a plain page has one URL."""

    scale: Scale = "log"
    alike: Alike = "fold"
    pinned: dict[str, Any] = field(default_factory=dict)  # the image that stays first, as `image` or `upload`

    def url(
        self,
        index: OpenIndex,
        slot: Slot,
        feature: int,
        *,
        page: int = 1,
        scale: Scale | None = None,
        alike: Alike | None = None,
        near: bool = False,
    ) -> str:
        """Returns the URL of that feature in this state, or with another scale or folding."""
        scale, alike = scale or self.scale, alike or self.alike
        return URLS.feature(
            index.slug,
            slot.layer,
            feature,
            slot.token,
            scale=None if scale == "log" else scale,
            alike=None if alike == "fold" else alike,
            page=page if page > 1 else None,
            near=1 if near else None,
            **self.pinned,
        )

    def pinned_url(self, index: OpenIndex, slot: Slot, feature: int) -> str:
        """Returns the URL of another feature with the same pinned image."""
        return URLS.feature(index.slug, slot.layer, feature, slot.token, **self.pinned)

    def elsewhere(self, index: OpenIndex, layer: Layer, feature: int, token: Token | None) -> str:
        """Returns the same number at another layer or token, or the gallery if there is no such number."""
        if feature >= index.n_features(layer):
            return URLS.gallery(index.slug, layer, token=token)
        return self.url(index, Slot(layer, token or index.tokens(layer)[0]), feature)
