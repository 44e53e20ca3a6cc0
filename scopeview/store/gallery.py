"""Questions about the features of a slot, many at a time: counts, pages of cards, the next one."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from scopeview.slots import Slot
from scopeview.store.folder import IN_SLOT, IndexFolder, slot_values, within
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    FeatureCard,
    Gallery,
    SlotSummary,
    Sort,
)

LISTED = f"""(
  SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] AS top FROM features WHERE {IN_SLOT}
) LEFT JOIN (
  SELECT feature, names, name_scores[1] AS score, clarity, selectivity, x, y
  FROM described.features WHERE {IN_SLOT}
) USING (feature)"""
"""A slot's features with what was found out about them; NULL where that is nothing."""

NAMED = "contains(lower(array_to_string(names, chr(10))), lower($name))"

_CARD = "feature, n_active, max, top, names[1], score, clarity, selectivity"
_PARAMETER = re.compile(r"\$(\w+)")
_ORDER: dict[Sort, str] = {
    "feature": "feature",
    "density": "n_active DESC, feature",
    "max": "max DESC NULLS LAST, feature",
    "clarity": "clarity DESC NULLS LAST, feature",
    "score": "score DESC NULLS LAST, feature",
    "selectivity": "selectivity DESC NULLS LAST, feature",
    # No two seeds may hash the same number: by `feature + seed` the next seed would show the next features
    # in the same order.
    "random": "hash(feature + 1000000007 * $seed::BIGINT), feature",
}


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
            "clarity >= $dimmest": min_clarity,
            "clarity <= $clearest": max_clarity,
            NAMED: name or None,
        }
        matching, values = _matching(slot, wanted)
        seeded = {"seed": seed % 2**31} if sort == "random" else {}
        rows = self.sql(
            f"SELECT {_CARD} {matching} ORDER BY {_ORDER[sort]} LIMIT $limit OFFSET $offset",
            {**values, **seeded, "limit": limit, "offset": offset},
        )
        cards = [self._card(slot, row) for row in rows]
        return Gallery(cards, self._database.one(f"SELECT count(*) {matching}", values)[0])

    def cards(self, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, FeatureCard]:
        """Cards of the given features, by feature and in their order; those that do not exist are absent."""
        wanted = within(features, self._n_features(slot))
        rows = self.sql(
            f"SELECT {_CARD} FROM {LISTED} WHERE feature IN (SELECT unnest($features::INTEGER[]))",
            {**slot_values(slot), "features": wanted},
        )
        found = {row[0]: self._card(slot, row) for row in rows}
        return {feature: found[feature] for feature in wanted if feature in found}

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
    return f"FROM {LISTED} WHERE {' AND '.join(given)}", {**slot_values(slot), **named}
