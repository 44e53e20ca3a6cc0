"""Lines between features of neighboring layers, as SVG. Pure.

Heights are fixed, as in the stylesheet, so that the server knows where a line begins and ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.formatting import significant
from app.services.layer_flow import FeatureLink
from scopeview.store.records import NeighborKind

HEAD_PX, ROW_PX, GAP_PX, WIDTH_PX = 48, 40, 16, 56
"""Heights of a title, a feature, a gap of groups; width between columns: `.flow` in the stylesheet."""

KIND_WORDS: dict[NeighborKind, str] = {"decoder": "decoder cosine", "cofiring": "co-firing"}


@dataclass(frozen=True)
class LineView:
    """One line from the left column to the right one."""

    path: str  # SVG
    kind: str
    strength: int  # 1 to 4
    words: str


def tops_px(groups: Sequence[Sequence[int]]) -> dict[int, float]:
    """Returns the vertical center of each feature, from the top of its column."""
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


def lines(
    links: Sequence[FeatureLink], left: Mapping[int, float], right: Mapping[int, float]
) -> list[LineView]:
    """Draws the links; `left` and `right` are from `tops_px`, with every feature that a link joins."""
    return [_line(each, left[each.feature], right[each.other]) for each in links]


def _line(each: FeatureLink, start: float, end: float) -> LineView:
    # Co-firing a little lower, so that two lines between the same features are two.
    by = 4 if each.kind == "cofiring" else -4
    bend = WIDTH_PX / 2
    path = f"M0 {start + by:g}C{bend:g} {start + by:g} {bend:g} {end + by:g} {WIDTH_PX} {end + by:g}"
    words = f"{each.feature} → {each.other}: {KIND_WORDS[each.kind]} {significant(each.score)}"
    return LineView(path, each.kind, 1 + min(int(each.score * 4), 3), words)
