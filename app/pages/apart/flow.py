"""Features of neighbouring layers that resemble each other, as lines between two columns. Pure.

Heights are fixed, so that the server knows where a line begins and ends: they are those of the stylesheet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from app.formatting import significant
from scopeview.store.records import NeighborKind

HEAD_PX, ROW_PX, GAP_PX, WIDTH_PX = 48, 40, 16, 56
"""Of a group's title, of a feature, between two groups, between two columns: `.flow` in the stylesheet."""

LEAST: dict[NeighborKind, float] = {"decoder": 0.25, "cofiring": 0.1}
N_LINES = 2
"""Lines of one kind that begin at a feature, the strongest."""

KIND_WORDS: dict[NeighborKind, str] = {"decoder": "decoder cosine", "cofiring": "co-firing"}


@dataclass(frozen=True)
class Likeness:
    """Two features, one of each column, that resemble each other."""

    kind: NeighborKind
    feature: int
    other: int
    score: float


@dataclass(frozen=True)
class LineView:
    """One line from the left column to the right one."""

    path: str  # SVG
    kind: str
    strength: int  # 1 to 4
    words: str


def tops_px(groups: Sequence[Sequence[int]]) -> dict[int, float]:
    """Where the middle of each feature is, from the top of its column; groups one below the other."""
    found: dict[int, float] = {}
    top = 0.0
    for features in groups:
        top += HEAD_PX
        for feature in features:
            found[feature] = top + ROW_PX / 2
            top += ROW_PX
        top += GAP_PX
    return found


def height_px(groups: Sequence[Sequence[int]]) -> int:
    return sum(HEAD_PX + len(features) * ROW_PX + GAP_PX for features in groups)


def by_decoder(
    features: Sequence[int],
    directions: Float32[np.ndarray, "feature d_in"],
    others: Sequence[int],
    other_directions: Float32[np.ndarray, "other d_in"],
) -> list[Likeness]:
    """Every two whose decoder rows point the same way; nothing between layers of different widths."""
    if directions.shape[1] != other_directions.shape[1]:
        return []
    cosines = _unit(directions) @ _unit(other_directions).T
    return [
        Likeness("decoder", features[row], others[column], float(cosines[row, column]))
        for row, column in np.argwhere(cosines >= LEAST["decoder"]).tolist()
    ]


def strongest(found: Sequence[Likeness]) -> list[Likeness]:
    """Of each kind the first few that begin at a feature, and no weak ones."""
    kept: list[Likeness] = []
    for each in sorted(found, key=lambda each: (-each.score, each.feature, each.other)):
        same = [line for line in kept if (line.kind, line.feature) == (each.kind, each.feature)]
        if len(same) < N_LINES and each.score >= LEAST[each.kind]:
            kept.append(each)
    return kept


def lines(found: Sequence[Likeness], left: Mapping[int, float], right: Mapping[int, float]) -> list[LineView]:
    """Of those whose ends are both shown; `left` and `right` are places as of `tops_px`."""
    shown = [each for each in found if each.feature in left and each.other in right]
    return [_line(each, left[each.feature], right[each.other]) for each in strongest(shown)]


def _line(each: Likeness, start: float, end: float) -> LineView:
    # Co-firing a little lower, so that two lines between the same features are two.
    by = 4 if each.kind == "cofiring" else -4
    bend = WIDTH_PX / 2
    path = f"M0 {start + by:g}C{bend:g} {start + by:g} {bend:g} {end + by:g} {WIDTH_PX} {end + by:g}"
    words = f"{each.feature} → {each.other}: {KIND_WORDS[each.kind]} {significant(each.score)}"
    return LineView(path, each.kind, 1 + min(int(each.score * 4), 3), words)


def _unit(rows: Float32[np.ndarray, "row d_in"]) -> Float32[np.ndarray, "row d_in"]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float32[np.ndarray, "row d_in"] = rows / np.maximum(lengths, np.float32(1e-12))
    return unit
