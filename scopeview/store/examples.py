"""Queries for the images of one feature: ranked, by interval of activation, and across tokens."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice
from typing import Any

import numpy as np

from scopeview.slots import ANY, Slot
from scopeview.store.feature_rows import Sampled
from scopeview.store.images import ImageReader
from scopeview.store.index_folder import IN_SLOT, Run, slot_values
from scopeview.store.records import ActivatingImages, ActiveFeature, Interval, TopImage

N_INTERVALS = 5
PER_INTERVAL = 6
"""The number of images shown per interval."""


class ExampleReader(ImageReader):
    """The part of `IndexReader` that reads the images on which a feature fires."""

    def activating_images(
        self, slot: Slot, feature: int, *, limit: int = 50, offset: int = 0
    ) -> list[TopImage]:
        """Returns a page of all images on which the feature fires, by rank, beyond the stored ones too."""
        rows = self.sql(
            f"SELECT image_id, activation, position FROM activations WHERE {IN_SLOT} AND feature = $feature"
            " ORDER BY activation DESC, image_id LIMIT $limit OFFSET $offset",
            {**slot_values(slot), "feature": feature, "limit": limit, "offset": offset},
        )
        ids, values, positions = zip(*rows, strict=True) if rows else ((), (), ())
        return self._ranked(ids, values, positions, range(offset + 1, offset + 1 + len(ids)))

    def activations_on(
        self, slot: Slot, features: Iterable[int], image_ids: Iterable[int]
    ) -> dict[tuple[int, int], ActiveFeature]:
        """Returns activations by (feature, image id), where they fire; `codes` has only the strongest."""
        rows = self.sql(
            f"SELECT feature, image_id, activation, position FROM activations WHERE {IN_SLOT}"
            " AND feature IN (SELECT unnest($features::INTEGER[]))"
            " AND image_id IN (SELECT unnest($images::INTEGER[]))",
            {**slot_values(slot), "features": list(features), "images": list(image_ids)},
        )
        return {
            (feature, image_id): ActiveFeature(feature, activation, position)
            for feature, image_id, activation, position in rows
        }

    def firing_columns(self, slot: Slot, feature: int) -> ActivatingImages:
        """Returns all images on which the feature fires, as columns, for callers that need all of them."""
        run = self._run(slot, feature)
        found = self._firing_run(slot, run) if run is not None else None
        if found is None:
            # In the order of the table, which is that of the ranks.
            found = self.columns(
                f"SELECT {firing_sql(slot)} FROM activations WHERE {IN_SLOT} AND feature = $feature",
                {**slot_values(slot), "feature": feature},
            )
        return ActivatingImages(found["image_id"], found["activation"], found.get("position"))

    def _firing_run(self, slot: Slot, run: Run) -> dict[str, np.ndarray[Any, np.dtype[Any]]] | None:
        """Reads the rows at a known location; None if they are not the expected ones."""
        # Asked so, DuckDB goes there at once; with both ends given it looks at every part of the table.
        found = self.columns(
            f"SELECT {firing_sql(slot)} FROM activations WHERE rowid >= $first LIMIT $n",
            {"first": run.first, "n": run.n},
        )
        values = found["activation"]
        return found if len(values) == run.n and float(values[0]) == run.highest else None

    def intervals(self, slot: Slot, feature: int) -> list[Interval]:
        """Returns equal slices of (0, max], the highest first, each with evenly spaced images by rank.

        Equal calls return equal results. The list is empty for a feature that never fires.
        """
        row = self._row(slot, feature)
        found = row.sampled() if row is not None else sampled(self.firing_columns(slot, feature))
        ranks = sampled_ranks(found.n_images)
        # All at once: what is known of thirty images costs little more than of six.
        every = self._ranked(*found[1:], list(chain.from_iterable(ranks)))
        images, n = iter(every), len(found.n_images)
        return [
            Interval(
                low=every[0].activation * (n - 1 - i) / n,
                high=every[0].activation * (n - i) / n,
                n_images=n_images,
                images=list(islice(images, len(ranks[i]))),
            )
            for i, n_images in enumerate(found.n_images)
        ]

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


def sampled(
    firing: ActivatingImages, n_intervals: int = N_INTERVALS, per_interval: int = PER_INTERVAL
) -> Sampled:
    """Counts the images in equal slices of (0, max], the highest slice first, and samples some of each.

    All lists are empty for a feature that never fires.
    """
    values = firing.activation
    if not len(values):
        return Sampled([], [], [], None)
    parts = np.ceil(values.astype(np.float64) * n_intervals / float(values[0])).astype(np.int64)
    n_images = np.bincount(np.maximum(parts - 1, 0), minlength=n_intervals)[::-1].tolist()
    at = np.array(list(chain.from_iterable(sampled_ranks(n_images, per_interval)))) - 1
    positions = None if firing.position is None else firing.position[at].tolist()
    return Sampled(n_images, firing.image_id[at].tolist(), values[at].tolist(), positions)


def sampled_ranks(n_images: Sequence[int], per_interval: int = PER_INTERVAL) -> list[list[int]]:
    """Chooses the ranks to show, given the number of images in consecutive intervals of ranks.

    In an interval with too many images, they are evenly spaced, beginning with its first rank.
    """
    firsts = accumulate(n_images, initial=1)
    return [
        [first + place for place in _places(n, per_interval)]
        for first, n in zip(firsts, n_images, strict=False)
    ]


def _places(n: int, n_wanted: int) -> Sequence[int]:
    return range(n) if n <= n_wanted else [-(-part * n // n_wanted) for part in range(n_wanted)]


def firing_sql(slot: Slot) -> str:
    """The SQL columns of `activations` that `ActivatingImages` has at that slot."""
    return f"image_id, activation{', position' if slot.token == ANY else ''}"
