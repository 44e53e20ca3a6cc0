"""Examples by interval of every feature of a slot, as rows hold them; a bounded number of rows at a time."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int32

from scopeview.slots import Slot
from scopeview.store.examples import firing_sql, sampled
from scopeview.store.feature_rows import Sampled
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader
from scopeview.store.records import ActivatingImages

AT_ONCE = 4_000_000  # rows of `activations`: some 100 MB
_NOTHING = Sampled([], [], [], None)


def samples(
    reader: IndexReader, slot: Slot, start: int, n_active: Int32[np.ndarray, " feature"]
) -> Iterator[Sampled]:
    """Of the features from `start` on, of which each fires on so many images."""
    for first, end in spans(n_active.tolist(), AT_ONCE):
        # In the order of the table: by feature, then by rank.
        found = reader.columns(
            f"SELECT feature, {firing_sql(slot)} FROM activations WHERE {IN_SLOT}"
            " AND feature >= $first AND feature < $end",
            {**slot_values(slot), "first": start + first, "end": start + end},
        )
        bounds = np.searchsorted(found["feature"], np.arange(start + first, start + end + 1))
        for low, high in pairwise(bounds.tolist()):
            yield _sampled(found, low, high) if high > low else _NOTHING


def spans(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cuts what has these sizes into parts of at most `most` in sum, or of one that is larger by itself."""
    first, total = 0, 0
    for at, size in enumerate(sizes):
        if at > first and total + size > most:
            yield first, at
            first, total = at, 0
        total += size
    if sizes:
        yield first, len(sizes)


def _sampled(found: dict[str, np.ndarray[Any, np.dtype[Any]]], low: int, high: int) -> Sampled:
    part = {name: column[low:high] for name, column in found.items()}
    return sampled(ActivatingImages(part["image_id"], part["activation"], part.get("position")))
