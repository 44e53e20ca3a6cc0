"""Which features fire on the same images, by Jaccard: images on which both fire / on which either fires.

Computed by sparse products. For two layers, a product has as many terms as there are pairs of features that
fire on one image, summed over the images: 0.5 billion for half a million images at 32 features each. At
`any`, where thousands may fire on an image, only every n-th image is counted; the manifest records n.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy import sparse

from indexer.describe.nearest import Nearest
from scopeview.slots import Slot, Token
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader

_CHUNK_ENTRIES = 1 << 25  # of a dense chunk of products, which a sparse one never exceeds


@dataclass(frozen=True)
class ActivationMatrix:
    """A sparse matrix of which active features of a slot fire on which of the counted images."""

    table: sparse.csr_array  # (active feature, image), 1 where it fires
    n_images: Int32[np.ndarray, " active"]  # of those counted, on which it fires


def sampling_interval(reader: IndexReader, token: Token, most_products: int) -> int:
    """Returns n: only images whose id is divisible by n are counted (1: all of them)."""
    (products,) = reader.sql(
        "SELECT max(products) FROM (SELECT sum(n_active::BIGINT * n_active) AS products FROM codes"
        " WHERE token = $token GROUP BY layer)",
        {"token": token},
    )[0]
    return max(1, -(-int(products or 0) // most_products))


def read_activation_matrix(
    reader: IndexReader, slot: Slot, active: Int32[np.ndarray, " active"], every: int
) -> ActivationMatrix:
    pairs = reader.columns(
        f"SELECT feature, image_id // $every AS image FROM activations WHERE {IN_SLOT}"
        " AND image_id % $every = 0",
        {**slot_values(slot), "every": every},
    )
    rows = np.searchsorted(active, pairs["feature"]).clip(max=max(len(active) - 1, 0))
    kept = active[rows] == pairs["feature"] if len(active) else np.zeros(len(rows), bool)
    shape = (len(active), -(-reader.manifest.n_images // every))
    where = (rows[kept].astype(np.int32), pairs["image"][kept].astype(np.int32))
    table = sparse.csr_array((np.ones(len(where[0]), np.int32), where), shape=shape)
    return ActivationMatrix(table, np.diff(table.indptr).astype(np.int32))


def nearest_cofiring(
    asking: ActivationMatrix, among: ActivationMatrix, k: int, min_images: int, *, same: bool = False
) -> Nearest:
    """The k nearest features by Jaccard. Both features must fire on at least `min_images` counted images."""
    n_rows, n_others = len(asking.n_images), len(among.n_images)
    rows, scores = np.full((n_rows, k), -1, np.int32), np.zeros((n_rows, k), np.float32)
    by_image = among.table.T.tocsr()
    enough = among.n_images >= min_images
    chunk = max(1, _CHUNK_ENTRIES // max(n_others, 1))
    for start in range(0, n_rows, chunk):
        both = (asking.table[start : start + chunk] @ by_image).tocsr()
        for row in np.flatnonzero(asking.n_images[start : start + chunk] >= min_images).tolist():
            at = slice(both.indptr[row], both.indptr[row + 1])
            others, n_both = both.indices[at], both.data[at]
            jaccard = n_both / (asking.n_images[start + row] + among.n_images[others] - n_both)
            jaccard[~enough[others] | (same & (others == start + row))] = 0.0
            best = _best(others, jaccard, k)
            rows[start + row, : len(best)] = others[best]
            scores[start + row, : len(best)] = jaccard[best]
    return Nearest(rows, scores)


def _best(
    others: Int32[np.ndarray, " other"], scores: Float64[np.ndarray, " other"], k: int
) -> Int64[np.ndarray, " best"]:
    """The indices of the k best scores above zero, equal ones by number."""
    near = np.flatnonzero(scores > 0)
    if len(near) > k:
        near = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        near = near[scores[near] > 0]
    found: Int64[np.ndarray, " best"] = near[np.lexsort((others[near], -scores[near]))][:k]
    return found
