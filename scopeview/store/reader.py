"""Questions to a finished index: one method a question, every query parameterised and bounded.

Knows nothing of HTTP, pages or models. One `IndexReader` may be shared by any number of threads. Those that
start from a feature are here; those that start from an image are in `images`.
"""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

from scopeview.errors import NotFoundError
from scopeview.slots import Slot
from scopeview.store.files import grid_pack
from scopeview.store.images import ImageReader, within
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    FeatureCard,
    FeatureRecord,
    Gallery,
    Histogram,
    SlotSummary,
    Sort,
    TopImage,
)

_ORDER: dict[Sort, str] = {
    "feature": "feature",
    "density": "n_active DESC, feature",
    "max": "max DESC NULLS LAST, feature",
    # No two seeds may hash the same number: by `feature + seed` the next seed would show the next features
    # in the same order.
    "random": "hash(feature + 1000000007 * $seed::BIGINT), feature",
}
_IN_SLOT = "layer = $layer AND token = $token"


class IndexReader(ImageReader):
    """A finished index, open for reading. Close it, or use it as a context manager."""

    def summary(self, slot: Slot) -> SlotSummary:
        row = self._database.one(
            "SELECT count(*), count(*) FILTER (n_active > 0), count(*) FILTER (n_active >= $least)"
            f" FROM features WHERE {_IN_SLOT}",
            {**_slot(slot), "least": MIN_GRID_IMAGES},
        )
        return SlotSummary(slot.layer, slot.token, *row)

    def feature(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> FeatureRecord:
        """One feature with its histogram and stored top images. Raises `NotFoundError`."""
        slot, number = self.slot(layer, token), operator.index(feature)
        if not 0 <= number < self._n_features(slot):
            raise self._no_feature(slot, number)
        rows = self.sql(
            "SELECT n_active, sum, max, histogram, top_images, top_values, top_positions FROM features"
            f" WHERE {_IN_SLOT} AND feature = $feature LIMIT 1",
            {**_slot(slot), "feature": number},
        )
        if not rows:
            raise self._no_feature(slot, number)
        n_active, total, highest, counts, ids, values, positions = rows[0]
        return FeatureRecord(
            layer=slot.layer,
            token=slot.token,
            feature=number,
            n_images=self.manifest.n_images,
            n_active=n_active,
            max_activation=highest,
            mean_activation=total / n_active if n_active else None,
            histogram=Histogram(_edges(highest, len(counts)), counts),
            top_images=self._ranked(ids, values, positions, first_rank=1),
        )

    def gallery(
        self,
        slot: Slot,
        *,
        sort: Sort = "feature",
        min_images: int = MIN_GRID_IMAGES,
        seed: int = 0,
        limit: int = 48,
        offset: int = 0,
    ) -> Gallery:
        """Features of a slot that fire on at least `min_images` images, in the given order."""
        matching = f"FROM features WHERE {_IN_SLOT} AND n_active >= $least"
        values = {**_slot(slot), "least": min_images}
        seeded = {"seed": seed % 2**31} if sort == "random" else {}
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] {matching}"
            f" ORDER BY {_ORDER[sort]} LIMIT $limit OFFSET $offset",
            {**values, **seeded, "limit": limit, "offset": offset},
        )
        cards = [
            FeatureCard(slot.layer, slot.token, row[0], self.manifest.n_images, *row[1:]) for row in rows
        ]
        return Gallery(cards, self._database.one(f"SELECT count(*) {matching}", values)[0])

    def cards(self, slot: Slot, features: Iterable[SupportsIndex]) -> dict[int, FeatureCard]:
        """Cards of the given features, by feature and in their order; those that do not exist are absent."""
        wanted = within(features, self._n_features(slot))
        rows = self.sql(
            f"SELECT feature, n_active, max, top_images[:{MIN_GRID_IMAGES}] FROM features"
            f" WHERE {_IN_SLOT} AND feature IN (SELECT unnest($features::INTEGER[]))",
            {**_slot(slot), "features": wanted},
        )
        n_images = self.manifest.n_images
        found = {row[0]: FeatureCard(slot.layer, slot.token, row[0], n_images, *row[1:]) for row in rows}
        return {feature: found[feature] for feature in wanted if feature in found}

    def activating_images(
        self, slot: Slot, feature: int, *, limit: int = 50, offset: int = 0
    ) -> list[TopImage]:
        """Every image on which the feature fires, by rank, past the stored top ones too."""
        rows = self.sql(
            f"SELECT image_id, activation, position FROM activations WHERE {_IN_SLOT} AND feature = $feature"
            " ORDER BY activation DESC, image_id LIMIT $limit OFFSET $offset",
            {**_slot(slot), "feature": feature, "limit": limit, "offset": offset},
        )
        ids, values, positions = zip(*rows, strict=True) if rows else ((), (), ())
        return self._ranked(ids, values, positions, first_rank=offset + 1)

    def live_neighbor(self, slot: Slot, feature: int, *, forward: bool) -> int | None:
        """The nearest feature above (or below) this one that fires on at least one image."""
        pick, beyond = ("min(feature)", ">") if forward else ("max(feature)", "<")
        row = self._database.one(
            f"SELECT {pick} FROM features WHERE {_IN_SLOT} AND n_active > 0 AND feature {beyond} $feature",
            {**_slot(slot), "feature": feature},
        )
        return None if row[0] is None else int(row[0])

    def random_feature(self, slot: Slot, seed: int) -> int | None:
        """One feature that has a grid, the same for the same seed; None when the slot has none."""
        cards = self.gallery(slot, sort="random", seed=seed, limit=1).cards
        return cards[0].feature if cards else None

    def grid(self, slot: Slot, feature: int) -> bytes:
        """WebP of the feature's 3 x 3 grid. Raises `NotFoundError` where it fires on too few images."""
        blob = self._pack(grid_pack(self.index_dir, slot)).read(feature)
        if blob is None:
            raise NotFoundError(
                f"feature {feature} at {slot.name} fires on fewer than {MIN_GRID_IMAGES} images: no grid"
            )
        return blob

    def _ranked(
        self,
        ids: Sequence[int],
        values: Sequence[float],
        positions: Sequence[int | None] | None,
        first_rank: int,
    ) -> list[TopImage]:
        rows = self.image_rows(ids)
        where = positions if positions is not None else [None] * len(ids)
        return [
            TopImage(
                rank=first_rank + i,
                image_id=image_id,
                key=rows[image_id].key,
                activation=value,
                position=position,
                caption=rows[image_id].caption,
                source_url=rows[image_id].source_url,
                punsafe=rows[image_id].punsafe,
            )
            for i, (image_id, value, position) in enumerate(zip(ids, values, where, strict=True))
        ]

    def _no_feature(self, slot: Slot, feature: int) -> NotFoundError:
        last = self._n_features(slot) - 1
        return NotFoundError(f"layer {slot.layer} has no feature {feature}; it has 0 to {last}")


def _slot(slot: Slot) -> dict[str, Any]:
    return {"layer": str(slot.layer), "token": slot.token}


def _edges(highest: float | None, n_bins: int) -> list[float]:
    return [] if highest is None else [highest * i / n_bins for i in range(n_bins + 1)]
