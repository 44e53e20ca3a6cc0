"""Questions about the images of one feature: ranked, by interval of activation, and across tokens."""

from collections.abc import Sequence

from scopeview.slots import Layer, Slot, Token
from scopeview.store.folder import IN_SLOT, slot_values
from scopeview.store.images import ImageReader
from scopeview.store.records import MIN_GRID_IMAGES, Interval, TopImage


class ExampleReader(ImageReader):
    """The part of `IndexReader` that shows what a feature fires on."""

    def activating_images(
        self, slot: Slot, feature: int, *, limit: int = 50, offset: int = 0
    ) -> list[TopImage]:
        """Every image on which the feature fires, by rank, past the stored top ones too."""
        rows = self.sql(
            f"SELECT image_id, activation, position FROM activations WHERE {IN_SLOT} AND feature = $feature"
            " ORDER BY activation DESC, image_id LIMIT $limit OFFSET $offset",
            {**slot_values(slot), "feature": feature, "limit": limit, "offset": offset},
        )
        ids, values, positions = zip(*rows, strict=True) if rows else ((), (), ())
        return self._ranked(ids, values, positions, range(offset + 1, offset + 1 + len(ids)))

    def interval_images(
        self, slot: Slot, feature: int, n_intervals: int = 5, per_interval: int = 6
    ) -> list[Interval]:
        """Equal slices of (0, max], the highest first, each with an even sample of its images by rank.

        The same question has the same answer. Nothing for a feature that never fires.
        """
        rows = self.sql(
            _INTERVALS,
            {**slot_values(slot), "feature": feature, "n": n_intervals, "per": per_interval},
        )
        highest = max((row[0] for row in rows), default=0.0)
        return [
            self._interval(highest, i, n_intervals, [row[1:] for row in rows if row[1] == i])
            for i in reversed(range(n_intervals if rows else 0))
        ]

    def overlap(self, layer: Layer, feature: int) -> dict[Token, list[int]]:
        """The ids of the feature's top nine images at each token of the layer, in the index's order."""
        rows = self.sql(
            f"SELECT token, top_images[:{MIN_GRID_IMAGES}] FROM features"
            " WHERE layer = $layer AND feature = $feature",
            {"layer": str(layer), "feature": feature},
        )
        found = dict(rows)
        return {
            slot.token: list(found[slot.token])
            for slot in self.manifest.slots
            if slot.layer == layer and slot.token in found
        }

    def _interval(
        self,
        highest: float,
        i: int,
        n_intervals: int,
        rows: Sequence[tuple[int, int, int, int, float, int | None]],
    ) -> Interval:
        """Of rows (interval, images in it, rank, image id, activation, position)."""
        columns = list(zip(*rows, strict=True)) or [()] * 6
        return Interval(
            low=highest * i / n_intervals,
            high=highest * (i + 1) / n_intervals,
            n_images=rows[0][1] if rows else 0,
            images=self._ranked(columns[3], columns[4], columns[5], columns[2]),
        )

    def _ranked(
        self,
        ids: Sequence[int],
        values: Sequence[float],
        positions: Sequence[int | None] | None,
        ranks: Sequence[int],
    ) -> list[TopImage]:
        rows = self.image_rows(ids)
        where = positions if positions is not None else [None] * len(ids)
        return [
            TopImage(
                rank=rank,
                image_id=image_id,
                key=rows[image_id].key,
                activation=value,
                position=position,
                caption=rows[image_id].caption,
                source_url=rows[image_id].source_url,
                punsafe=rows[image_id].punsafe,
            )
            for rank, image_id, value, position in zip(ranks, ids, values, where, strict=True)
        ]


# Interval i is max * i / n < activation <= max * (i + 1) / n, as the histogram's slices are. Of the images in
# it, by place from 0, those are shown at which place * per / n_images reaches a whole number, and the first.
_INTERVALS = f"""
WITH firing AS (
  SELECT activation, image_id, position,
    row_number() OVER (ORDER BY activation DESC, image_id) AS rank, max(activation) OVER () AS highest
  FROM activations WHERE {IN_SLOT} AND feature = $feature
), cut AS (
  SELECT *, greatest(ceil(activation::DOUBLE * $n / highest::DOUBLE)::INTEGER - 1, 0) AS interval FROM firing
), placed AS (
  SELECT *, count(*) OVER (PARTITION BY interval) AS n_images,
    row_number() OVER (PARTITION BY interval ORDER BY rank) - 1 AS place
  FROM cut
)
SELECT highest, interval, n_images, rank, image_id, activation, position FROM placed
WHERE n_images <= $per OR place = 0
  OR place * $per // n_images > (place - 1) * $per // n_images
ORDER BY rank
"""
