"""The columns of all features of a slot that galleries, cards and neighbors need, in memory.

Reading a slot of 65,536 features takes 5 MB and 30 ms; an answer from it takes microseconds, while a query
takes milliseconds.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, Shaped, UInt64

from scopeview.slots import Slot
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.records import MIN_GRID_IMAGES, FeatureCard, Sort

LISTED = f"""(
  SELECT feature, n_active, max FROM features WHERE {IN_SLOT}
) LEFT JOIN (
  SELECT feature, names, name_scores[1] AS score, clarity, selectivity, x, y
  FROM described.features WHERE {IN_SLOT}
) USING (feature)"""
"""SQL for a slot's features with their descriptions; NULL where there is none."""

_FIGURES = "feature, n_active, names[1] AS name, " + ", ".join(
    f"coalesce({name}, 'nan')::FLOAT AS {name}" for name in ("max", "score", "clarity", "selectivity")
)
_TOPS = f"""
  SELECT feature, unnest(range(len(top))) AS rank, unnest(top) AS image_id
  FROM (SELECT feature, top_images[:{MIN_GRID_IMAGES}] AS top FROM features WHERE {IN_SLOT})
"""  # each with its rank: nothing promises that rows come in the order of the lists
_FIRST_ROW = f"SELECT coalesce(min(rowid), 0) AS first FROM activations WHERE {IN_SLOT}"
Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Runs a query with parameters and returns its columns."""
NO_IMAGE = ABSENT = -1


@dataclass(frozen=True)
class SlotColumns:
    """One value per feature; NaN where a value is unknown or the feature never fires."""

    n_active: Int32[np.ndarray, " feature"]  # `ABSENT` where the index has no such feature
    first_row: Int64[np.ndarray, " feature"]  # of `activations`: there are `n_active` of each, by rank
    max_activation: Float32[np.ndarray, " feature"]
    top: Int32[np.ndarray, "feature nine"]  # ids of the highest images, `NO_IMAGE` past the last
    punsafe: Float32[np.ndarray, " feature"]  # the highest of those images
    name: list[str | None]
    score: Float32[np.ndarray, " feature"]
    clarity: Float32[np.ndarray, " feature"]
    selectivity: Float32[np.ndarray, " feature"]
    _orders: dict[Sort, Int64[np.ndarray, " feature"]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.n_active)

    def order(self, sort: Sort, seed: int = 0) -> Int64[np.ndarray, " feature"]:
        """All features in this sort order: highest first, unknown values last."""
        if sort == "random":
            return np.argsort(_shuffled(len(self), seed))
        if sort not in self._orders:
            self._orders[sort] = self._order(sort)
        return self._orders[sort]

    def neighbor(self, feature: int, *, forward: bool) -> int | None:
        """The nearest live feature above (or below) this one; None if there is none."""
        live = self.n_active > 0
        beyond = np.flatnonzero(live[feature + 1 :]) if forward else np.flatnonzero(live[: max(feature, 0)])
        if not len(beyond):
            return None
        return int(beyond[0]) + feature + 1 if forward else int(beyond[-1])

    def cards(self, slot: Slot, features: Sequence[int], n_images: int) -> list[FeatureCard]:
        """Cards of existing features. Built column by column: value by value takes four times as long."""
        at = np.asarray(features, dtype=np.int64)
        figures = (self.max_activation, self.punsafe, self.score, self.clarity, self.selectivity)
        highest, punsafe, score, clarity, selectivity = (_known(column[at]) for column in figures)
        n_active, top = self.n_active[at].tolist(), self.top[at].tolist()
        return [
            FeatureCard(
                layer=slot.layer,
                token=slot.token,
                feature=feature,
                n_images=n_images,
                n_active=n_active[i],
                max_activation=highest[i],
                top_image_ids=_without_gaps(top[i]),
                punsafe=punsafe[i],
                name=self.name[feature],
                name_score=score[i],
                clarity=clarity[i],
                selectivity=selectivity[i],
            )
            for i, feature in enumerate(features)
        ]

    def _order(self, sort: Sort) -> Int64[np.ndarray, " feature"]:
        if sort == "feature":
            return np.arange(len(self))
        figures: dict[Sort, np.ndarray[Any, np.dtype[Any]]] = {
            "density": self.n_active,
            "max": self.max_activation,
            "clarity": self.clarity,
            "score": self.score,
            "selectivity": self.selectivity,
        }
        return np.argsort(-figures[sort].astype(np.float64), kind="stable")  # NaN comes last


def _known(figures: Float32[np.ndarray, " card"]) -> list[float | None]:
    """The values with NaN replaced by None (only NaN does not equal itself)."""
    return [None if figure != figure else figure for figure in figures.tolist()]


def _without_gaps(image_ids: list[int]) -> list[int]:
    return [at for at in image_ids if at != NO_IMAGE] if image_ids[-1] == NO_IMAGE else image_ids


def in_range(
    values: Int32[np.ndarray, " feature"] | Float32[np.ndarray, " feature"],
    low: int | float | None,
    high: int | float | None,
) -> Bool[np.ndarray, " feature"]:
    """True for values from `low` to `high`, both included; False for NaN if there is any bound."""
    found = np.ones(len(values), dtype=bool)
    # In double precision: 0.1 of a million images is more than 100,000 in single.
    figures = values.astype(np.float64)
    if low is not None:
        found &= figures >= low
    if high is not None:
        found &= figures <= high
    return found


def read_punsafe(ask: Ask, n_images: int) -> Float32[np.ndarray, " image_and_none"]:
    """The `punsafe` score of every image by id; NaN if it is unknown, and at `NO_IMAGE`."""
    found = ask("SELECT image_id, punsafe FROM images WHERE punsafe IS NOT NULL", {})
    punsafe = np.full(n_images + 1, np.nan, dtype=np.float32)
    punsafe[found["image_id"]] = found["punsafe"]
    return punsafe


def read_columns(
    ask: Ask, slot: Slot, n_features: int, punsafe: Float32[np.ndarray, " image_and_none"]
) -> SlotColumns:
    """Reads all columns from the database; `punsafe` is the result of `read_punsafe`."""
    figures = ask(f"SELECT {_FIGURES} FROM {LISTED} ORDER BY feature", slot_values(slot))
    tops = ask(_TOPS, slot_values(slot))
    feature = figures["feature"]

    def spread(values: Shaped[np.ndarray, " found"], missing: object) -> Shaped[np.ndarray, " feature"]:
        every = np.full(n_features, missing, dtype=values.dtype)
        every[feature] = values
        return every

    top = np.full((n_features, MIN_GRID_IMAGES), NO_IMAGE, dtype=np.int32)
    top[tops["feature"], tops["rank"]] = tops["image_id"]
    n_active = spread(figures["n_active"], ABSENT)
    names = np.full(n_features, None, dtype=object)
    names[feature] = figures["name"].tolist()  # a masked value becomes None
    return SlotColumns(
        n_active=n_active,
        first_row=ask(_FIRST_ROW, slot_values(slot))["first"][0] + _before(n_active),
        top=top,
        punsafe=np.fmax.reduce(punsafe[top], axis=1),
        name=[name and sys.intern(name) for name in names.tolist()],
        max_activation=spread(figures["max"], np.nan),
        score=spread(figures["score"], np.nan),
        clarity=spread(figures["clarity"], np.nan),
        selectivity=spread(figures["selectivity"], np.nan),
    )


def _before(n_active: Int32[np.ndarray, " feature"]) -> Int64[np.ndarray, " feature"]:
    """The total of `n_active` over all features before each one."""
    counts = np.maximum(n_active, 0).astype(np.int64)
    before: Int64[np.ndarray, " feature"] = np.cumsum(counts) - counts
    return before


def _shuffled(n: int, seed: int) -> UInt64[np.ndarray, " feature"]:
    """A number per feature, by splitmix64: the same for the same seed on any machine.

    The numbers of one seed must not be a shifted copy of another's: then the next seed would show the next
    features in the same order.
    """
    start = _mix(np.array([seed % 2**64], dtype=np.uint64))
    return _mix(start + np.arange(n, dtype=np.uint64))


def _mix(values: UInt64[np.ndarray, " value"]) -> UInt64[np.ndarray, " value"]:
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
