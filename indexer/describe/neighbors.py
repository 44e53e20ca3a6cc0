"""Neighbors of a slot's features at the same token: in their own layer and in every other.

Only active features take part, so that every link leads to images. Cosines compare every pair, which costs 2
x width operations a pair for each two layers: 110 s for 65,536 x 65,536 x 1024 on one core (from 1.6 s for
8,000) if all features were active; four seconds if a fifth were. Co-firing takes about ten seconds for two
layers of half a million images at 32 features each.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32

from indexer.describe.cofiring import ActivationMatrix, nearest_cofiring, read_activation_matrix
from indexer.describe.nearest import Nearest, nearest_rows
from indexer.describe.parquet_parts import ragged
from indexer.describe.plan import DescribePlan
from indexer.describe.top_images import active_features
from scopeview.importers import load_sae
from scopeview.slots import EMBED, Slot, Token
from scopeview.store.files import slot_vectors
from scopeview.store.pack import open_npy
from scopeview.store.reader import IndexReader
from scopeview.store.records import NeighborKind
from scopeview.store.vectors import unit_rows


class _Compared(NamedTuple):
    kind: NeighborKind
    other: Slot
    found: Nearest  # rows are places among the other slot's active features


class NeighborFinder:
    """Finds neighbors; reads each slot once and keeps it while slots of its token are compared."""

    def __init__(self, plan: DescribePlan, reader: IndexReader, cofiring_every: dict[Token, int]) -> None:
        self._plan, self._reader, self._every = plan, reader, cofiring_every
        n_layers = len(plan.manifest.layers)
        self.active = lru_cache(maxsize=n_layers)(self._active)
        self._vectors = lru_cache(maxsize=n_layers)(self._read_vectors)
        self._decoders = lru_cache(maxsize=n_layers)(self._read_decoders)
        self._firing = lru_cache(maxsize=n_layers)(self._read_firing)

    def neighbors(self, slot: Slot) -> dict[str, pa.Array]:
        """The rows of `described.neighbors`, without the columns of the slot."""
        asking = self.active(slot)
        tables = [self._table(asking, compared) for compared in self._compared(slot)]
        return {name: pa.concat_arrays([table[name] for table in tables]) for name in tables[0]}

    def vectors(self, slot: Slot) -> Float32[np.ndarray, "active projection"]:
        """The vectors of the active features; zeros for a feature without a direction."""
        return self._vectors(slot)

    def _compared(self, slot: Slot) -> Iterator[_Compared]:
        settings = self._plan.settings
        for other in (slot, *self._plan.others(slot)):
            same = other == slot
            k = settings.n_within if same else settings.n_across
            if EMBED not in (slot.layer, other.layer) or same:
                rows = self._decoders(slot), self._decoders(other)
                yield _Compared("decoder", other, nearest_rows(*rows, k, same=same))
            firing = self._firing(slot), self._firing(other)
            yield _Compared("cofiring", other, nearest_cofiring(*firing, k, settings.min_images, same=same))
            rows = self._vectors(slot), self._vectors(other)
            yield _Compared("vector", other, nearest_rows(*rows, k, same=same))

    def _table(self, asking: Int32[np.ndarray, " active"], compared: _Compared) -> dict[str, pa.Array]:
        """The rows of the features that have at least one neighbor of this kind."""
        rows, scores = compared.found
        some = np.any(rows >= 0, axis=1)
        kept = rows[some] >= 0
        others = self.active(compared.other)
        numbers = others[rows[some]] if len(others) else rows[some]
        n = int(some.sum())
        return {
            "feature": pa.array(asking[some], pa.int32()),
            "kind": pa.array([compared.kind] * n, pa.string()),
            "other_layer": pa.array([str(compared.other.layer)] * n, pa.string()),
            "features": ragged(numbers, kept, pa.int32()),
            "scores": ragged(scores[some], kept, pa.float32()),
        }

    def _active(self, slot: Slot) -> Int32[np.ndarray, " active"]:
        return active_features(self._reader, slot, self._plan.settings.min_images)

    def _read_vectors(self, slot: Slot) -> Float32[np.ndarray, "active projection"]:
        stored = open_npy(slot_vectors(self._plan.index_dir, slot))
        return unit_rows(stored[self.active(slot)])

    def _read_decoders(self, slot: Slot) -> Float32[np.ndarray, "active d_in"]:
        decoder = load_sae(self._plan.recipe.source(slot.layer)).dec.numpy()
        return unit_rows(decoder[self.active(slot)])

    def _read_firing(self, slot: Slot) -> ActivationMatrix:
        return read_activation_matrix(self._reader, slot, self.active(slot), self._every[slot.token])
