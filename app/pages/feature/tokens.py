"""The same feature at every token of its layer, side by side."""

from dataclasses import dataclass

from app.formatting import token_name, token_words
from app.pages.cards import FeatureView, feature_view
from app.pages.feature.url_state import FeatureUrl
from app.services.feature_details import AtToken, FeatureDetails
from app.state import OpenIndex
from scopeview.slots import Slot


@dataclass(frozen=True)
class TokenView:
    """The feature at one token."""

    name: str  # `CLS`
    words: str  # what the token is
    url: str
    current: bool
    feature: FeatureView  # its images, counts and density there
    n_shared: int  # of the nine highest there, those that are also among the nine highest here
    n_compared: int  # the most that could be shared
    shared: list[tuple[int, int]]  # (column, row) of the shared ones in the 3 x 3 grid


def tokens(index: OpenIndex, details: FeatureDetails, state: FeatureUrl) -> list[TokenView]:
    """Returns the feature at every token, in index order, including the page's own."""
    return [_view(index, details, at, state) for at in details.tokens]


def _view(index: OpenIndex, details: FeatureDetails, at: AtToken, state: FeatureUrl) -> TokenView:
    card = at.card
    current = card.token == details.slot.token
    cells = [place for place, image_id in enumerate(card.top_image_ids) if image_id in at.shared]
    url = state.url(index, Slot(card.layer, card.token), card.feature)
    return TokenView(
        name=token_name(card.token),
        words=token_words(card.layer, card.token, index.manifest.model.grid_size),
        url=url,
        current=current,
        feature=feature_view(index, card, details.rows, card.top_image_ids, url=url),
        n_shared=len(at.shared),
        n_compared=at.n_compared,
        shared=[] if current else [(place % 3, place // 3) for place in cells],
    )
