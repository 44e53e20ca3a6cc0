"""The strongest features of an image by layer, for indexed images and uploads alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.formatting import layer_name, token_name
from app.pages.cards import FeatureView, feature_view
from app.pages.layout import LinkTo
from app.params.view_params import SlotFilter
from app.services.feature_cards import rows_without_grid
from app.state import OpenIndex
from scopeview.slots import Layer, Slot, Token
from scopeview.store.records import Code

PREVIEW_COUNT = 6
"""Features shown of each layer while the page shows all layers."""


@dataclass(frozen=True)
class ImageSlotView:
    """The active features of an image at one slot."""

    name: str  # `L22`
    token: str  # `CLS`
    n_active: int  # features that fire there
    n_listed: int  # in the code, at most k
    features: list[FeatureView]  # highest first: all that are listed, or the first few
    url: str  # this slot alone, with all that are listed; empty when it is shown alone


def image_slot_views(
    index: OpenIndex, codes: Sequence[Code], shown: SlotFilter, link: LinkTo
) -> list[ImageSlotView]:
    """Returns the slots in index order; a layer without that token (the embedding) is shown at its first."""
    by_slot = {Slot(code.layer, code.token): code for code in codes}
    alone = shown.layer is not None
    return [
        _view(index, by_slot[slot], alone, "" if alone else link(slot.layer, slot.token))
        for slot in index.slots_at(shown.token, shown.layer)
        if slot in by_slot
    ]


def image_link(url: Callable[..., str]) -> LinkTo:
    """Returns links to an image's page at one layer; `url` takes the query as keywords."""

    def link(layer: Layer, token: Token | None) -> str:
        return url(layer=layer, token=token)

    return link


def _view(index: OpenIndex, code: Code, alone: bool, url: str) -> ImageSlotView:
    kept = code.features if alone else code.features[:PREVIEW_COUNT]
    cards = index.reader.cards(Slot(code.layer, code.token), [found.feature for found in kept])
    rows = rows_without_grid(index, cards.values())
    views = [
        feature_view(index, cards[found.feature], rows, cards[found.feature].top_image_ids, found)
        for found in kept
        if found.feature in cards
    ]
    return ImageSlotView(
        name=layer_name(code.layer),
        token=token_name(code.token),
        n_active=code.n_active,
        n_listed=len(code.features),
        features=views,
        url=url,
    )
