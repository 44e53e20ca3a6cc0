"""Every active feature of a slot in columns, for plots, maps and scripts; packed once and cached.

Packed means the safetensors format: a length, a JSON header that names each column's type and place, then the
columns end to end, little-endian. A browser reads it with typed arrays, Python with `safetensors.numpy.load`.
"""

import gzip
import json
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

from app.state import OpenIndex
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader

FIGURES = ("max_activation", "clarity", "selectivity", "name_score", "x", "y")
NO_WORD = -1
_SLOTS_KEPT = 16  # about 4 MB each at 65,536 features
_GZIP_LEVEL = 5


class PackedPoints(NamedTuple):
    """The bytes to send, plain and compressed."""

    plain: bytes
    gzipped: bytes


@lru_cache(maxsize=_SLOTS_KEPT)
def packed(reader: IndexReader, slot: Slot) -> PackedPoints:
    points = reader.points(slot)
    words, word = _coded(points.name)
    columns: dict[str, np.ndarray[Any, Any]] = {
        "feature": points.feature,
        "n_active": points.n_active,
        "word": word,
        **{name: getattr(points, name) for name in FIGURES},
    }
    plain = save(
        {name: np.ascontiguousarray(column) for name, column in columns.items()},
        metadata={
            "layer": str(slot.layer),
            "token": slot.token,
            "n_images": str(reader.manifest.n_images),
            "words": json.dumps(words, ensure_ascii=False),
        },
    )
    return PackedPoints(plain, gzip.compress(plain, _GZIP_LEVEL, mtime=0))


def has_map(index: OpenIndex, slot: Slot) -> bool:
    """True if the slot's features have places: active ones do, once the index was described."""
    return index.reader.is_described and index.summaries[slot].n_active > 0


def _coded(names: list[str | None]) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int32]]]:
    """Returns each different name once, and every feature's number among them: `NO_WORD` for no name."""
    words = list(dict.fromkeys(name for name in names if name is not None))
    numbers: dict[str | None, int] = {word: number for number, word in enumerate(words)}
    return words, np.array([numbers.get(name, NO_WORD) for name in names], np.int32)
