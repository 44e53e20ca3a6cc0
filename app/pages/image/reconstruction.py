"""Reconstruction quality of one layer: explained variance, and the error of each patch. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.formatting import fraction, significant
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.token_selection import SelectionSummary, finite_or_none

SHADES = 6


@dataclass(frozen=True)
class ResidualView:
    """The squared error of each patch as shades of gray, and the figures to read out."""

    paths: list[tuple[int, str]]  # shade, 1 to 6, and its patches as an SVG path
    size: int
    mse: str  # of each patch, as a script reads them: with commas between
    explained: str
    l0: str
    words: str  # for those who do not see it


@dataclass(frozen=True)
class ExplainedView:
    """Reconstruction metrics, as means over the selected tokens."""

    explained_variance: float | None  # None where there is no variance to explain
    mse: float
    l0: float
    residual: ResidualView | None  # None where there are no patches


def explained_view(found: LayerDecomposition, here: SelectionSummary, size: int) -> ExplainedView:
    residual = _residual(found, size) if found.n_tokens > 1 else None
    return ExplainedView(here.explained_variance, here.mse, here.l0, residual)


def _residual(found: LayerDecomposition, size: int) -> ResidualView:
    mse = [float(value) for value in np.nan_to_num(found.mse[1:], posinf=0.0, neginf=0.0)]
    highest = max(mse)
    peak = mse.index(highest)
    return ResidualView(
        paths=_shades(mse, highest, size),
        size=size,
        mse=",".join(significant(value) for value in mse),
        explained=",".join(_percent(value) for value in found.explained_variance[1:].tolist()),
        l0=",".join(map(str, found.l0[1:].tolist())),
        words=f"reconstruction error by patch: highest at row {peak // size}, column {peak % size},"
        f" a squared error of {significant(highest)}",
    )


def _percent(value: float) -> str:
    known = finite_or_none(value)
    return "undefined" if known is None else f"{100 * known:.1f}"


def _shades(values: Sequence[float], highest: float, size: int) -> list[tuple[int, str]]:
    found: dict[int, list[str]] = {}
    for at, value in enumerate(values):
        shade = 1 + min(int(fraction(value, highest) * SHADES), SHADES - 1)
        found.setdefault(shade, []).append(f"M{at % size} {at // size}h1v1h-1z")
    return [(shade, "".join(path)) for shade, path in sorted(found.items())]
