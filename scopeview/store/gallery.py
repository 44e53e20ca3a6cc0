"""Questions about the features of a slot, many at a time: counts, pages of cards, points, the next one."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

import numpy as np

from scopeview.slots import Slot
from scopeview.store.folder import IN_SLOT, IndexFolder, slot_values, within
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    FeatureCard,
    Gallery,
    Points,
    SlotSummary,
    Sort,
)

_ORDER: dict[Sort, str] = {
    "feature": "feature",
    "density": "n_active DESC, feature",
    "max": "max DESC NULLS LAST, feature",
    "clarity": "feature",
    "score": "feature",
    "selectivity": "feature",
    # No two seeds may hash the same number: by `feature + seed` the next seed would show the next features
    # in the same order.
    "random": "hash(feature + 1000000007 * $seed::BIGINT), feature",
}


_PARAMETER = re.compile(r"\$(\w+)")


class GalleryReader(IndexFolder):
    """The part of `IndexReader` that asks for many features."""

    def summary(self, slot: Slot) -> SlotSummary:
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
        """Features of a slot that pass every filter, in the given order.

        Fire on `min_images` to `max_images` images, and on that share of all images (densities in [0, 1]),
        have a clarity in that range, and a name that contains `name`, whatever its case. Ends of ranges
        belong to them; a feature without a clarity is in no range of it.
        """
        n_images = self.manifest.n_images
        wanted: dict[str, int | float | str | None] = {
            "n_active >= $least": min_images,
            "n_active <= $most": max_images,
            "n_active >= $sparsest": None if min_density is None else min_density * n_images,
            "n_active <= $densest": None if max_density is None else max_density * n_images,
            "$dimmest > 1": None if min_clarity is None else 0.0,
            "$clearest > 1": None if max_clarity is None else 0.0,
            "$name = ''": name or None,
        }
        matching, values = _matching(slot, wanted)
        seeded = {"seed": seed % 2**31} if sort == "random" else {}
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] {matching}"
            f" ORDER BY {_ORDER[sort]} LIMIT $limit OFFSET $offset",
            {**values, **seeded, "limit": limit, "offset": offset},
        )
        cards = [self._card(slot, row) for row in rows]
        return Gallery(cards, self._database.one(f"SELECT count(*) {matching}", values)[0])

    def cards(self, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, FeatureCard]:
        """Cards of the given features, by feature and in their order; those that do not exist are absent."""
        wanted = within(features, self._n_features(slot))
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] FROM features"
            f" WHERE {IN_SLOT} AND feature IN (SELECT unnest($features::INTEGER[]))",
            {**slot_values(slot), "features": wanted},
        )
        found = {row[0]: self._card(slot, row) for row in rows}
        return {feature: found[feature] for feature in wanted if feature in found}

    def points(self, slot: Slot) -> Points:
        """Every active feature of the slot, for maps and scatter plots.

        Of an index that was not described, counts and maxima are known and the rest is NaN.
        """
        rows = self.sql(
            f"SELECT feature, n_active, max FROM features WHERE {IN_SLOT} AND n_active >= $least"
            " ORDER BY feature",
            {**slot_values(slot), "least": MIN_GRID_IMAGES},
        )
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
        unknown = np.full(len(rows), np.nan, dtype=np.float32)
        return Points(
            feature=table[:, 0].astype(np.int32),
            n_active=table[:, 1].astype(np.int32),
            max_activation=table[:, 2].astype(np.float32),
            clarity=unknown,
            selectivity=unknown,
            name_score=unknown,
            name=[None] * len(rows),
            x=unknown,
            y=unknown,
        )

    def named(self, slot: Slot, name: str) -> list[int]:  # noqa: ARG002
        """Active features of the slot with a name that contains `name`, whatever its case, in their order."""
        return []

    def live_neighbor(self, slot: Slot, feature: int, *, forward: bool) -> int | None:
        """The nearest feature above (or below) this one that fires on at least one image."""
        pick, beyond = ("min(feature)", ">") if forward else ("max(feature)", "<")
        row = self._database.one(
            f"SELECT {pick} FROM features WHERE {IN_SLOT} AND n_active > 0 AND feature {beyond} $feature",
            {**slot_values(slot), "feature": feature},
        )
        return None if row[0] is None else int(row[0])

    def random_feature(self, slot: Slot, seed: int) -> int | None:
        """One feature that has a grid, the same for the same seed; None when the slot has none."""
        cards = self.gallery(slot, sort="random", seed=seed, limit=1).cards
        return cards[0].feature if cards else None

    def _card(self, slot: Slot, row: tuple[Any, ...]) -> FeatureCard:
        return FeatureCard(slot.layer, slot.token, row[0], self.manifest.n_images, *row[1:])


def _matching(slot: Slot, wanted: Mapping[str, int | float | str | None]) -> tuple[str, dict[str, Any]]:
    """The FROM clause of the slot's features under the conditions that have a value, and the values."""
    given = {condition: value for condition, value in wanted.items() if value is not None}
    named = {_PARAMETER.findall(condition)[0]: value for condition, value in given.items()}
    return f"FROM features WHERE {' AND '.join([IN_SLOT, *given])}", {**slot_values(slot), **named}
