"""Questions about the images of one feature: ranked, by interval of activation, and across tokens."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Int64

from scopeview.slots import ANY, Layer, Slot, Token
from scopeview.store.folder import IN_SLOT, Run, slot_values
from scopeview.store.images import ImageReader
from scopeview.store.records import MIN_GRID_IMAGES, Firing, Interval, TopImage


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

    def firing_columns(self, slot: Slot, feature: int) -> Firing:
        """Every image on which the feature fires, as columns; for those who need them all."""
        run = self._run(slot, feature)
        found = self._firing_run(slot, run) if run is not None else None
        if found is None:
            # In the order of the table, which is that of the ranks.
            found = self.columns(
                f"SELECT {_firing(slot)} FROM activations WHERE {IN_SLOT} AND feature = $feature",
                {**slot_values(slot), "feature": feature},
            )
        return Firing(found["image_id"], found["activation"], found.get("position"))

    def _firing_run(self, slot: Slot, run: Run) -> dict[str, np.ndarray[Any, np.dtype[Any]]] | None:
        """None where other rows lie there than were expected."""
        # Asked so, DuckDB goes there at once; with both ends given it looks at every part of the table.
        found = self.columns(
            f"SELECT {_firing(slot)} FROM activations WHERE rowid >= $first LIMIT $n",
            {"first": run.first, "n": run.n},
        )
        values = found["activation"]
        return found if len(values) == run.n and float(values[0]) == run.highest else None

    def ranked_images(self, firing: Firing, ranks: Sequence[int]) -> list[TopImage]:
        """Those of the given ranks, which count from 1."""
        at = np.asarray(ranks, dtype=np.int64) - 1
        positions = None if firing.position is None else firing.position[at].tolist()
        return self._ranked(firing.image_id[at].tolist(), firing.activation[at].tolist(), positions, ranks)

    def interval_images(self, firing: Firing, n_intervals: int = 5, per_interval: int = 6) -> list[Interval]:
        """Equal slices of (0, max], the highest first, each with an even sample of its images by rank.

        The same question has the same answer. Nothing for a feature that never fires.
        """
        if not len(firing.activation):
            return []
        highest = float(firing.activation[0])
        parts = np.ceil(firing.activation.astype(np.float64) * n_intervals / highest).astype(np.int64)
        slices = np.maximum(parts - 1, 0)
        ranks = [np.flatnonzero(slices == i) + 1 for i in range(n_intervals)]
        samples = [_sample(each, per_interval) for each in ranks]
        # All at once: what is known of thirty images costs little more than of six.
        images = iter(self.ranked_images(firing, [rank for sample in samples for rank in sample]))
        found = [
            Interval(
                low=highest * i / n_intervals,
                high=highest * (i + 1) / n_intervals,
                n_images=len(ranks[i]),
                images=list(islice(images, len(samples[i]))),
            )
            for i in range(n_intervals)
        ]
        return found[::-1]

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


def _firing(slot: Slot) -> str:
    return f"image_id, activation{', position' if slot.token == ANY else ''}"


def _sample(ranks: Int64[np.ndarray, " in_interval"], n_wanted: int) -> list[int]:
    """The first, and from there on each at whose place another whole part of the way is reached."""
    parts = np.arange(len(ranks)) * n_wanted // max(len(ranks), 1)
    wanted = np.diff(parts, prepend=-1) > 0
    return ranks[wanted].tolist()  # type: ignore[no-any-return]
