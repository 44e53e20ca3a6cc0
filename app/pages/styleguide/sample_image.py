"""A picture with made-up activity at one layer, of which `/patterns` shows what pages make of a real one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.pages.image.view_state import Looking
from app.services.feature_cards import FeatureCards, described_slot, read_cards
from app.state import OpenIndex
from app.urls import ImageAddress
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.token_selection import Selection
from scopeview.slots import ANY, Layer
from scopeview.store.records import ImageRow

N_FEATURES = 6


@dataclass(frozen=True)
class Stage:
    """What everything is shown of."""

    index: OpenIndex
    at: ImageAddress
    rows: Sequence[ImageRow]
    cards: FeatureCards
    features: list[int]
    found: LayerDecomposition

    @property
    def layer(self) -> Layer:
        return self.cards.slot.layer

    @property
    def size(self) -> int:
        return self.index.manifest.model.grid_size

    @property
    def looking(self) -> Looking:
        return Looking(self.at, self.layer, Selection(ANY, None))


def stage_of(index: OpenIndex) -> Stage | None:
    """Of the deepest block that has enough features; None where there is none, or no image."""
    rows = index.reader.images(limit=6)
    for layer in reversed(index.blocks):
        slot = described_slot(index, layer, Selection(ANY, None))
        found = index.reader.gallery(slot, min_images=1, sort="density", limit=N_FEATURES).cards
        if rows and len(found) == N_FEATURES:
            features = [card.feature for card in found]
            highest = [card.max_activation or 1.0 for card in found]
            apart = made_up(features, highest, index.manifest.model.grid_size)
            at = ImageAddress(index.slug, rows[0].image_id)
            return Stage(index, at, rows, read_cards(index, slot, features), features, apart)
    return None


def made_up(features: Sequence[int], highest: Sequence[float], size: int) -> LayerDecomposition:
    """Each but the last is active around a place of its own, a little less than the highest, and at CLS."""
    rows, columns = (each.ravel() for each in np.indices((size, size)) / size)
    values = np.zeros((size * size + 1, len(features)), dtype=np.float32)
    for number in range(len(features) - 1):
        x, y = 0.3 + 0.1 * number, 0.7 - 0.12 * number
        far = (columns - x) ** 2 + (rows - y) ** 2
        values[1:, number] = highest[number] * np.maximum(0, 0.95 - 0.15 * number - 14 * far)
        values[0, number] = highest[number] / 4
    order = np.argsort(-values, axis=1, kind="stable")
    left = np.concatenate([[0.2], (rows - 0.5) ** 2 + columns**2]).astype(np.float32)
    return LayerDecomposition(
        k=len(features),
        features=np.asarray(features, dtype=np.int32)[order],
        values=np.take_along_axis(values, order, axis=1),
        norms=np.ones_like(values),
        explained_variance=(1 - left / 2).astype(np.float32),
        mse=20 * left,
    )
