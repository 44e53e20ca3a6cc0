"""Queries to a finished index: one method per query, every query parameterised and bounded.

Knows nothing of HTTP, pages or models. One `IndexReader` may be shared by any number of threads. This module
reads one feature; `images`, `gallery`, `examples`, `codes` and `descriptions` hold the other queries.
"""

import operator
from collections.abc import Iterable
from functools import cached_property
from typing import SupportsIndex

from scopeview.errors import NotFoundError
from scopeview.slots import Slot, parse_layer
from scopeview.store.codes import CodeReader
from scopeview.store.descriptions import DescribedReader
from scopeview.store.examples import ExampleReader
from scopeview.store.feature_rows import FeatureStatistics
from scopeview.store.files import grid_pack
from scopeview.store.gallery import GalleryReader
from scopeview.store.index_folder import IN_SLOT, slot_values, within
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, Histogram
from scopeview.store.vectors import Vectors

_FIGURES = "n_active, sum, max, histogram, top_images, top_values, top_positions"


class IndexReader(ExampleReader, GalleryReader, CodeReader, DescribedReader):
    """A finished index, open for reading. Close it, or use it as a context manager."""

    @cached_property
    def search(self) -> Vectors:
        """The search by vector among features and images."""
        return Vectors(self.index_dir, self.embeddings, self.means, self.files)

    is_warm = False
    """True once `warm` has finished."""

    def warm(self) -> None:
        """Reads frequently used data into memory; a server calls it once it listens."""
        for slot in self.manifest.slots:
            self.cards(slot, [])
        self.keep_image_rows()
        self.is_warm = True

    def feature(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> FeatureRecord:
        """Returns a feature with its histogram and stored top images. Raises `NotFoundError`."""
        slot, number = self.slot(layer, token), operator.index(feature)
        self._check_feature(slot, number)
        row = self._row(slot, number)
        found = row.figures() if row is not None else self.figures(slot, number)
        n_active, total, highest, counts, ids, values, positions = found
        return FeatureRecord(
            layer=slot.layer,
            token=slot.token,
            feature=number,
            n_images=self.manifest.n_images,
            n_active=n_active,
            max_activation=highest,
            mean_activation=total / n_active if n_active else None,
            histogram=Histogram(_edges(highest, len(counts)), counts),
            top_images=self._ranked(ids, values, positions, range(1, len(ids) + 1)),
        )

    def figures(self, slot: Slot, feature: int) -> FeatureStatistics:
        """Returns a feature's row of the database, with the ids of its top images. Raises `NotFoundError`."""
        # A slot's features lie in order, so it is known where this one is, unless some are missing. Asked so,
        # DuckDB goes there at once; a search takes it twice as long.
        at = {"row": self._first_features.get(slot, 0) + feature}
        found = self.sql(
            f"SELECT layer, token, feature, {_FIGURES} FROM features WHERE rowid >= $row LIMIT 1", at
        )
        if not found or found[0][:3] != (str(slot.layer), slot.token, feature):
            found = self.sql(
                f"SELECT layer, token, feature, {_FIGURES} FROM features"
                f" WHERE {IN_SLOT} AND feature = $feature LIMIT 1",
                {**slot_values(slot), "feature": feature},
            )
        if not found:
            raise NotFoundError(f"layer {slot.layer} has no feature {feature} in the database")
        return FeatureStatistics(*found[0][3:])

    @cached_property
    def _first_features(self) -> dict[Slot, int]:
        """The row of the first feature of every slot."""
        rows = self.sql("SELECT layer, token, min(rowid) FROM features GROUP BY layer, token")
        return {Slot(parse_layer(layer), token): row for layer, token, row in rows}

    def histograms(self, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, Histogram]:
        """Returns the histograms of the given features, by feature, without those that never fire."""
        rows = self.sql(
            f"SELECT feature, max, histogram FROM features WHERE {IN_SLOT} AND max IS NOT NULL"
            " AND feature IN (SELECT unnest($features::INTEGER[]))",
            {**slot_values(slot), "features": within(features, self._n_features(slot))},
        )
        return {at: Histogram(_edges(highest, len(counts)), counts) for at, highest, counts in rows}

    def grid(self, slot: Slot, feature: int) -> bytes:
        """Returns the feature's 3 x 3 grid as WebP. Raises `NotFoundError` if it fires on too few images."""
        blob = self._pack(grid_pack(self.index_dir, slot)).read(feature)
        if blob is None:
            raise NotFoundError(
                f"feature {feature} at {slot.name} fires on fewer than {MIN_GRID_IMAGES} images: no grid"
            )
        return blob


class DatabaseReader(IndexReader):
    """An `IndexReader` that queries only the databases, to check the feature rows gathered from them."""

    _reads_rows = False


def _edges(highest: float | None, n_bins: int) -> list[float]:
    return [] if highest is None else [highest * i / n_bins for i in range(n_bins + 1)]
