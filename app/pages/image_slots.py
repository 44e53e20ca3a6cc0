"""A picture's codes as features: one component for indexed images and uploads alike."""

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
"""Features shown of each layer while all layers are."""


@dataclass(frozen=True)
class SlotOfPicture:
    """What one slot sees in the picture."""

    name: str  # `L22`
    token: str  # `CLS`
    n_active: int  # features that fire there
    n_listed: int  # in the code, at most k
    features: list[FeatureView]  # highest first: all that are listed, or the first few
    url: str  # this slot alone, with all that are listed; empty when it is shown alone


def slots_of_picture(
    index: OpenIndex, codes: Sequence[Code], what: SlotFilter, link: LinkTo
) -> list[SlotOfPicture]:
    """In index order; a layer without that token (the embedding) is shown at its first."""
    by_slot = {Slot(code.layer, code.token): code for code in codes}
    alone = what.layer is not None
    return [
        _view(index, by_slot[slot], alone, "" if alone else link(slot.layer, slot.token))
        for slot in index.slots_at(what.token, what.layer)
        if slot in by_slot
    ]


def picture_link(url: Callable[..., str]) -> LinkTo:
    """The page of a picture at one layer; `url` takes the query as keywords."""

    def link(layer: Layer, token: Token | None) -> str:
        return url(layer=layer, token=token)

    return link


def _view(index: OpenIndex, code: Code, alone: bool, url: str) -> SlotOfPicture:
    kept = code.features if alone else code.features[:PREVIEW_COUNT]
    cards = index.reader.cards(Slot(code.layer, code.token), [found.feature for found in kept])
    rows = rows_without_grid(index, cards.values())
    views = [
        feature_view(index, cards[found.feature], rows, cards[found.feature].top_image_ids, found)
        for found in kept
        if found.feature in cards
    ]
    return SlotOfPicture(
        name=layer_name(code.layer),
        token=token_name(code.token),
        n_active=code.n_active,
        n_listed=len(code.features),
        features=views,
        url=url,
    )
