"""A slot's features with their top images, as padded arrays: what most figures are worked out from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from scopeview.slots import Slot
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader


@dataclass(frozen=True)
class SlotTops:
    """Every live feature of a slot, by feature. Ranks past a feature's last hold image 0 and weight 0."""

    features: Int32[np.ndarray, " live"]
    n_active: Int32[np.ndarray, " live"]
    images: Int32[np.ndarray, "live rank"]
    weights: Float32[np.ndarray, "live rank"]  # activations; always above zero where there is an image

    @property
    def present(self) -> Bool[np.ndarray, "live rank"]:
        return self.weights > 0

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, start: int, end: int) -> "SlotTops":
        """Those features alone, by their place here."""
        cut = slice(start, end)
        return SlotTops(self.features[cut], self.n_active[cut], self.images[cut], self.weights[cut])


def read_tops(reader: IndexReader, slot: Slot) -> SlotTops:
    """As many ranks as the index keeps."""
    columns = reader.columns(
        f"SELECT feature, n_active FROM features WHERE {IN_SLOT} AND n_active > 0 ORDER BY feature",
        slot_values(slot),
    )
    pairs = reader.columns(
        "SELECT feature, unnest(range(len(top_images))) AS rank, unnest(top_images) AS image,"
        f" unnest(top_values) AS value FROM features WHERE {IN_SLOT} AND n_active > 0",
        slot_values(slot),
    )
    features: Int32[np.ndarray, " live"] = columns["feature"]
    shape = (len(features), reader.manifest.top_n)
    images, weights = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    rows: Int64[np.ndarray, " pair"] = np.searchsorted(features, pairs["feature"])
    images[rows, pairs["rank"]] = pairs["image"]
    weights[rows, pairs["rank"]] = pairs["value"]
    return SlotTops(features, columns["n_active"], images, weights)


def active_features(reader: IndexReader, slot: Slot, min_images: int) -> Int32[np.ndarray, " active"]:
    """Those that fire on at least so many images, by feature."""
    found: Int32[np.ndarray, " active"] = reader.columns(
        f"SELECT feature FROM features WHERE {IN_SLOT} AND n_active >= $least ORDER BY feature",
        {**slot_values(slot), "least": min_images},
    )["feature"]
    return found
