"""Two sides' arrays, compared and summed up by batch. Knows what must hold, not how the arrays were made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]

VALUE_RTOL = 1e-4
TIE_RTOL = 1e-6
TINY = float(np.finfo(np.float32).tiny)


@dataclass
class Difference:
    """How far two dense arrays are apart, over all batches. `max_relative` is to the largest value."""

    n_values: int = 0
    n_unequal: int = 0
    max_absolute: float = 0.0
    max_relative: float = 0.0

    def add(self, ours: Array, theirs: Array) -> None:
        if ours.shape != theirs.shape:
            raise ValueError(f"our shape is {ours.shape}, theirs {theirs.shape}")
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
        self.n_values += apart.size
        self.n_unequal += int((apart != 0).sum())
        self.max_absolute = max(self.max_absolute, float(apart.max()))
        self.max_relative = max(self.max_relative, float(apart.max() / np.abs(theirs).max()))

    @property
    def equal(self) -> bool:
        return self.n_values > 0 and self.n_unequal == 0


@dataclass
class LatentDifference:
    """How far two sides' codes are apart.

    A row is one token. `n_other` rows keep other features than theirs. Of those, `n_near_ties` do so because
    every feature that only one side keeps has a pre-activation within `TIE_RTOL` of the k-th: the others,
    `n_wrong`, differ truly. Values are compared on the features both keep.
    """

    n_rows: int = 0
    n_other: int = 0
    n_near_ties: int = 0
    n_bitwise: int = 0
    max_relative: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def n_wrong(self) -> int:
        return self.n_other - self.n_near_ties

    @property
    def holds(self) -> bool:
        return self.n_rows > 0 and self.n_wrong == 0 and self.max_relative <= VALUE_RTOL

    def add(self, ours: tuple[Array, Array], theirs: tuple[Array, Array], pre: Array) -> None:
        """(features, values) of both sides, each [row, k], and our pre-activations [row, n_features]."""
        if ours[0].shape != theirs[0].shape:
            raise ValueError(f"our codes have shape {ours[0].shape}, theirs {theirs[0].shape}")
        for row in range(len(pre)):
            mine, yours = (
                dict(zip(features[row].tolist(), values[row].tolist(), strict=True))
                for features, values in (ours, theirs)
            )
            self._add_row(mine, yours, pre[row])

    def _add_row(self, mine: dict[int, float], yours: dict[int, float], pre: Array) -> None:
        self.n_rows += 1
        self.n_bitwise += mine == yours
        for feature in mine.keys() & yours.keys():
            apart = abs(mine[feature] - yours[feature]) / max(abs(yours[feature]), TINY)
            self.max_relative = max(self.max_relative, apart)
        only_one_side = sorted(mine.keys() ^ yours.keys())
        if only_one_side:
            self.n_other += 1
            kth = np.sort(pre)[-len(mine)]
            self.n_near_ties += bool((np.abs(pre[only_one_side] - kth) <= TIE_RTOL * abs(kth)).all())
            values = ", ".join(f"{f} has {pre[f]:.9g}" for f in only_one_side)
            self.examples.append(f"kept by one side only: {values}; the k-th value is {kth:.9g}")
