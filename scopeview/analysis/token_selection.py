"""A selection of tokens of an image, and the features active there: what a user sees after picking patches.

A selection is written like tokens: `cls`, `any` for all of them, or token numbers with commas and ranges,
such as `17,33-35`. Each selection has one spelling, so that one view has one URL.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from scopeview.analysis.decomposition import LayerDecomposition, Peaks
from scopeview.analysis.grouping import THRESHOLD, Group, group_features
from scopeview.errors import InputError
from scopeview.slots import ANY, CLS, parse_number

Order = Literal["activation", "mass"]
ORDERS: tuple[Order, ...] = ("activation", "mass")


class Selection(NamedTuple):
    """A selection: `text` is its only spelling; `positions` are ascending, None: all tokens."""

    text: str
    positions: tuple[int, ...] | None


class ActiveFeatureSummary(NamedTuple):
    """A feature that fires at some of the selected tokens."""

    feature: int
    activation: float  # the highest of them
    position: int  # the first token that reaches it
    n_tokens: int  # of those selected, at how many it fires
    mass: float  # summed over them
    share: float  # of the mass of all features here


@dataclass(frozen=True)
class SelectionSummary:
    """The features active at the selected tokens. The three metrics are means over these tokens."""

    n_tokens: int
    n_active: int
    mass: float
    features: list[ActiveFeatureSummary]
    explained_variance: float | None  # None where a token has no variance to explain
    mse: float
    l0: float
    n_stored: int | None = (
        None  # the first so many activations are the index's own; None: none is approximate
    )


def parse_selection(text: str, n_tokens: int) -> Selection:
    """Parses a selection for a layer with `n_tokens` tokens (the first is CLS). Raises `InputError`."""
    if text == ANY:
        return Selection(ANY, None)
    chosen = sorted({position for part in text.split(",") for position in _parse(part)})
    if not chosen or chosen[-1] >= n_tokens:
        numbers = f" or token numbers from 1 to {n_tokens - 1} such as 17,33-35" if n_tokens > 1 else ""
        raise InputError(f"Invalid tokens {text[:80]!r}. Expected any, cls{numbers}.")
    if len(chosen) == n_tokens:
        return Selection(ANY, None)
    return Selection(format_positions(chosen), tuple(chosen))


def format_positions(positions: Sequence[int]) -> str:
    """The only spelling of some positions, given in ascending order."""
    numbers = [position for position in positions if position > 0]
    runs = [[*run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    words = [
        str(run[0][1]) if len(run) == 1 else f"{run[0][1]}{',' if len(run) == 2 else '-'}{run[-1][1]}"
        for run in runs
    ]
    return ",".join([CLS, *words] if 0 in positions else words)


def summarize(
    layer: LayerDecomposition,
    selection: Selection,
    *,
    order: Order = "activation",
    least: float = 0.0,
    top: int | None = None,
) -> SelectionSummary:
    """Lists the `top` first features with an activation of at least `least`; counts and mass are of all.

    For an indexed image, features whose activation the index stores come first.
    """
    peaks = Peaks(layer, selection.positions)
    ranked = np.arange(len(peaks)) if order == "activation" else np.argsort(-peaks.masses, kind="stable")
    is_stored = _are_stored(layer, selection, peaks)
    ranked = np.concatenate([ranked[is_stored[ranked]], ranked[~is_stored[ranked]]])
    listed = ranked[peaks.values[ranked] >= least][:top]
    total = float(peaks.masses.sum())
    shares = peaks.masses / (total or 1.0)
    columns = (peaks.features, peaks.values, peaks.positions, peaks.n_tokens, peaks.masses, shares)
    rows = zip(*(column[listed].tolist() for column in columns), strict=True)
    at = slice(None) if selection.positions is None else list(selection.positions)
    return SelectionSummary(
        n_tokens=len(layer.mse[at]),
        n_active=_n_active(layer, selection, peaks),
        mass=total,
        features=[ActiveFeatureSummary(*row) for row in rows],
        explained_variance=finite_or_none(float(layer.explained_variance[at].mean())),
        mse=float(layer.mse[at].mean()),
        l0=float(layer.l0[at].mean()),
        n_stored=None if layer.stored is None else int(is_stored[listed].sum()),
    )


def _are_stored(
    layer: LayerDecomposition, selection: Selection, peaks: Peaks
) -> Bool[np.ndarray, " feature"]:
    """True for features whose activation here is exact, not computed again from a thumbnail."""
    if layer.stored is None or layer.is_exact_at(selection.positions):
        return np.ones(len(peaks), dtype=bool)
    known = layer.stored.peaks if selection.positions is None else ()
    found: Bool[np.ndarray, " feature"] = np.isin(peaks.features, list(known))
    return found


def _n_active(layer: LayerDecomposition, selection: Selection, peaks: Peaks) -> int:
    stored = layer.stored.n_active if layer.stored and selection.positions is None else None
    return len(peaks) if stored is None else stored


def groups_here(
    layer: LayerDecomposition,
    selection: Selection,
    directions: Float32[np.ndarray, "feature d_in"],
    *,
    threshold: float = THRESHOLD,
) -> list[Group]:
    """Groups the features; `directions` are the decoder rows of `Peaks(layer, positions).features`."""
    peaks = Peaks(layer, selection.positions)
    return group_features(peaks.features, peaks.masses, directions, threshold=threshold)


def finite_or_none(value: float) -> float | None:
    """The value, or None in place of NaN and infinities, which JSON does not have."""
    return value if math.isfinite(value) else None


def _parse(part: str) -> Iterator[int]:
    """The positions of one word; for a malformed word, a position that no layer has."""
    if part == CLS:
        yield 0
        return
    first, dash, last = part.partition("-")
    start, end = parse_number(first), parse_number(last if dash else first)
    if start is None or end is None or not 1 <= start <= end <= _MAX_TOKEN:
        yield _MAX_TOKEN
        return
    yield from range(start, end + 1)


_MAX_TOKEN = 10**5  # a longer range would be worked out before it is refused
