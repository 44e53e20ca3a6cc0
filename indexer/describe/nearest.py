"""The nearest rows by cosine, exactly: every pair is compared, a chunk of rows at a time."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int32

_CHUNK_BYTES = 128 * 1024**2  # of cosines in memory at once
_SPARE = 8  # candidates past the last wanted, so that equal ones come in order of their number


class Nearest(NamedTuple):
    """The nearest rows of each query row, best first, padded with row -1 and score 0."""

    rows: Int32[np.ndarray, "row rank"]
    scores: Float32[np.ndarray, "row rank"]


def nearest_rows(
    asking: Float32[np.ndarray, "row width"],
    among: Float32[np.ndarray, "other width"],
    k: int,
    *,
    same: bool = False,
    above: float = 1e-6,
) -> Nearest:
    """The k nearest unit rows with a cosine over `above`. `same`: one table, no row finds itself."""
    rows = np.full((len(asking), k), -1, np.int32)
    scores = np.zeros((len(asking), k), np.float32)
    others = torch.from_numpy(among)
    chunk = max(1, _CHUNK_BYTES // (4 * max(len(among), 1)))
    for start in range(0, len(asking) if len(among) else 0, chunk):
        cosines = torch.from_numpy(asking[start : start + chunk]) @ others.T
        if same:
            cosines.diagonal(start).fill_(-torch.inf)
        found = cosines.topk(min(k + _SPARE, len(among)), dim=1)
        best = in_order(found.indices.numpy().astype(np.int32), found.values.numpy(), k, above)
        end = start + len(cosines)
        rows[start:end, : best.rows.shape[1]], scores[start:end, : best.rows.shape[1]] = best
    return Nearest(rows, scores)


def in_order(
    rows: Int32[np.ndarray, "row candidate"],
    scores: Float32[np.ndarray, "row candidate"],
    k: int,
    above: float,
) -> Nearest:
    """The best k of each row's candidates by score, then by number."""
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    best, kept = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    enough = kept > above
    return Nearest(np.where(enough, best, -1).astype(np.int32), np.where(enough, kept, 0).astype(np.float32))
