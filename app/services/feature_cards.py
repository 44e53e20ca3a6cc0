"""Cards, image rows and histograms of some features of one slot, read at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.state import OpenIndex
from scopeview.analysis.token_selection import Selection
from scopeview.slots import ANY, Layer, Slot
from scopeview.store.records import FeatureCard, Histogram, ImageRow


@dataclass(frozen=True)
class FeatureCards:
    """Features of one slot by number, with the rows of the images that are shown for them."""

    slot: Slot
    cards: Mapping[int, FeatureCard]
    rows: Mapping[int, ImageRow]
    histograms: Mapping[int, Histogram]


def read_cards(
    index: OpenIndex, slot: Slot, features: Iterable[int], *, with_histograms: bool = True
) -> FeatureCards:
    numbers = list(features)
    cards = index.reader.cards(slot, numbers)
    rows = rows_without_grid(index, cards.values())
    return FeatureCards(slot, cards, rows, index.reader.histograms(slot, numbers) if with_histograms else {})


def rows_without_grid(index: OpenIndex, cards: Iterable[FeatureCard]) -> dict[int, ImageRow]:
    """Returns the rows of the top images of features without a grid, which are shown one by one."""
    ids = {image_id for card in cards if not card.has_grid for image_id in card.top_image_ids}
    return index.reader.image_rows(sorted(ids))


def described_slot(index: OpenIndex, layer: Layer, selection: Selection) -> Slot:
    """Returns the slot whose grids, counts and histograms go with a selection.

    It is the selection's own slot if indexed, else that of `any`, else the layer's first.
    """
    tokens = index.tokens(layer)
    for token in (selection.text, ANY):
        if token in tokens:
            return Slot(layer, token)
    return Slot(layer, tokens[0])
