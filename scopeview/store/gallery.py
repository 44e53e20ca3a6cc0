"""Queries for many features of a slot: counts, densities, pages of cards, points of maps and plots."""

import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex

import numpy as np
from jaxtyping import Bool, Float32

from scopeview.slots import Slot
from scopeview.store.columns import ABSENT, LISTED, SlotColumns, in_range, read_columns, read_punsafe
from scopeview.store.index_folder import IN_SLOT, IndexFolder, Run, slot_values, within
from scopeview.store.manifest import Manifest
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    DensityBin,
    FeatureCard,
    Gallery,
    Points,
    SlotSummary,
    Sort,
)

NAMED = "contains(lower(array_to_string(names, chr(10))), lower($name))"

_POINT_METRICS = ("max", "clarity", "selectivity", "score", "x", "y")
_FEATURES_IN_MEMORY = 4_000_000  # of all slots together: 80 bytes each


class GalleryReader(IndexFolder):
    """The part of `IndexReader` that reads many features at a time."""

    def __init__(self, index_dir: Path, manifest: Manifest | None = None) -> None:
        super().__init__(index_dir, manifest)
        widest = max((record.n_features for record in self.manifest.layers), default=1)
        self._reading = threading.Lock()
        self._n_kept = max(1, _FEATURES_IN_MEMORY // widest)
        self._kept: dict[Slot, SlotColumns] = {}

    def summary(self, slot: Slot) -> SlotSummary:
        """The number of features of a slot, and how many of them are live and active."""
        row = self._database.one(
            "SELECT count(*), count(*) FILTER (n_active > 0), count(*) FILTER (n_active >= $least)"
            f" FROM features WHERE {IN_SLOT}",
            {**slot_values(slot), "least": MIN_GRID_IMAGES},
        )
        return SlotSummary(slot.layer, slot.token, *row)

    def gallery(
        self,
        slot: Slot,
        *,
        sort: Sort = "feature",
        min_images: int = MIN_GRID_IMAGES,
        max_images: int | None = None,
        min_density: float | None = None,
        max_density: float | None = None,
        min_clarity: float | None = None,
        max_clarity: float | None = None,
        name: str | None = None,
        seed: int = 0,
        limit: int = 48,
        offset: int = 0,
    ) -> Gallery:
        """Returns a page of the slot's features that pass every filter, in the order `sort`.

        A feature passes if it fires on `min_images` to `max_images` images, and if its density (in [0, 1])
        and its clarity are in their ranges; bounds are inclusive. A feature without a clarity fails any bound
        on it. With `name`, one of its names must contain that text; case is ignored.
        """
        columns, n_images = self._columns(slot), self.manifest.n_images
        matching = in_range(columns.n_active, max(min_images, 0), max_images)
        if min_density is not None or max_density is not None:
            densest = None if max_density is None else max_density * n_images
            matching &= in_range(columns.n_active, (min_density or 0.0) * n_images, densest)
        matching &= in_range(columns.clarity, min_clarity, max_clarity)
        if name:
            matching &= self._has_name(slot, name, len(columns))
        order = columns.order(sort, seed)
        found = order[matching[order]]
        page = found[offset : offset + limit].tolist()
        return Gallery(columns.cards(slot, page, n_images), len(found))

    def cards(self, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, FeatureCard]:
        """Returns the cards of the given features, by feature and in their order, without unknown ones."""
        columns = self._columns(slot)
        wanted = [at for at in within(features, len(columns)) if columns.n_active[at] != ABSENT]
        return dict(zip(wanted, columns.cards(slot, wanted, self.manifest.n_images), strict=True))

    def density_bins(self, slot: Slot) -> list[DensityBin]:
        """Counts the features that fire on 1 image, on 2 to 3, on 4 to 7, ..., up to all images.

        Each bin doubles the last. Empty bins are included; features that never fire are in none.
        """
        # The length of a number in base two, and not its logarithm: exact at every power.
        rows = self.sql(
            "SELECT length(bin(n_active)), count(*) FROM features"
            f" WHERE {IN_SLOT} AND n_active > 0 GROUP BY 1",
            slot_values(slot),
        )
        counts, n_images = dict(rows), self.manifest.n_images
        return [
            DensityBin(2 ** (bits - 1), min(2**bits - 1, n_images), counts.get(bits, 0))
            for bits in range(1, n_images.bit_length() + 1)
        ]

    def points(self, slot: Slot) -> Points:
        """Returns all active features. Without descriptions, all but counts and maxima is NaN or None."""
        figures = ", ".join(f"coalesce({name}, 'nan')::FLOAT AS {name}" for name in _POINT_METRICS)
        columns = self.columns(
            f"SELECT feature, n_active, names[1] AS name, {figures} FROM {LISTED}"
            " WHERE n_active >= $least ORDER BY feature",
            {**slot_values(slot), "least": MIN_GRID_IMAGES},
        )
        return Points(
            feature=columns["feature"],
            n_active=columns["n_active"],
            max_activation=columns["max"],
            clarity=columns["clarity"],
            selectivity=columns["selectivity"],
            name_score=columns["score"],
            name=columns["name"].tolist(),  # a masked value becomes None
            x=columns["x"],
            y=columns["y"],
        )

    def named(self, slot: Slot, name: str) -> list[int]:
        """Returns the active features, in order, with a name that contains `name`; case is ignored."""
        rows = self.sql(
            f"SELECT feature FROM {LISTED} WHERE n_active >= $least AND {NAMED} ORDER BY feature",
            {**slot_values(slot), "least": MIN_GRID_IMAGES, "name": name},
        )
        return [row[0] for row in rows]

    def live_neighbor(self, slot: Slot, feature: int, *, forward: bool) -> int | None:
        """Returns the nearest feature above (or below) this one that fires on at least one image, or None."""
        return self._columns(slot).neighbor(feature, forward=forward)

    def random_feature(self, slot: Slot, seed: int) -> int | None:
        """Returns a random feature that has a grid, the same for the same seed; None if the slot has none."""
        cards = self.gallery(slot, sort="random", seed=seed, limit=1).cards
        return cards[0].feature if cards else None

    def _run(self, slot: Slot, feature: int) -> Run | None:
        columns = self._kept.get(slot)
        if columns is None or not 0 <= feature < len(columns) or columns.n_active[feature] < 1:
            return None
        first, n, highest = (
            columns.first_row[feature],
            columns.n_active[feature],
            columns.max_activation[feature],
        )
        return Run(int(first), int(n), float(highest))

    @cached_property
    def _punsafe(self) -> Float32[np.ndarray, " image_and_none"]:
        return read_punsafe(self._database.columns, self.manifest.n_images)

    def _columns(self, slot: Slot) -> SlotColumns:
        """The slot's columns; if they are in memory, without waiting while another slot's are read."""
        kept = self._kept.get(slot)
        return kept if kept is not None else self._read_columns(slot)

    def _read_columns(self, slot: Slot) -> SlotColumns:
        with self._reading:
            if slot not in self._kept:
                found = read_columns(self._database.columns, slot, self._n_features(slot), self._punsafe)
                while len(self._kept) >= self._n_kept:
                    del self._kept[next(iter(self._kept))]
                self._kept[slot] = found
            return self._kept[slot]

    def _has_name(self, slot: Slot, name: str, n_features: int) -> Bool[np.ndarray, " feature"]:
        rows = self.sql(f"SELECT feature FROM {LISTED} WHERE {NAMED}", {**slot_values(slot), "name": name})
        found = np.zeros(n_features, dtype=bool)
        found[[feature for (feature,) in rows]] = True
        return found
