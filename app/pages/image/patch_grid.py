"""The patch grid of an image as SVG: a link for each patch, the selection, and the heatmap. Pure.

Written in Python and not as macros, since an image has hundreds of patches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from jaxtyping import Float32
from markupsafe import Markup

from app.formatting import fraction, heat, significant
from app.pages.layout import Link
from scopeview.vision.patches import cell_of

TOKENS = "TOKENS"
"""Stands in an address for the tokens, which a script puts there."""


@dataclass(frozen=True)
class HeatmapView:
    """One feature or group over the image."""

    paths: list[tuple[int, str]]  # step of the activation colors, and its patches as an SVG path
    words: str  # for those who do not see it


@dataclass(frozen=True)
class GridView:
    """An image with patches to select."""

    size: int  # patches on a side; 0 where the layer has none
    url: str  # of a selection, with `TOKENS` for its tokens
    links: Markup  # one a patch
    outline: str  # SVG path around what is selected; empty for nothing or all
    tokens: str  # what is selected, as the address has it
    switch: list[Link] = field(default_factory=list)  # CLS, and the whole image
    heat: HeatmapView | None = None


def patch_links(url: str, size: int) -> Markup:
    """Returns a link per patch, which the tabulator key skips: 256 of them would bar the way."""
    before, _, after = escape(url, quote=True).partition(TOKENS)
    return Markup(
        "".join(
            f'<a href="{before}{number}{after}" tabindex="-1" aria-label="patch ({row}, {column})">'
            f'<rect x="{column}" y="{row}" width="1" height="1"/></a>'
            for number, (row, column) in enumerate(np.ndindex(size, size), start=1)
        )
    )


def outline(positions: Iterable[int], size: int) -> str:
    """Returns a path around the patches among these tokens, without the lines between them."""
    chosen = {cell_of(position, size) for position in positions if 1 <= position <= size * size}
    path = []
    for row, column in sorted(chosen):
        if (row - 1, column) not in chosen:
            path.append(f"M{column} {row}h1")
        if (row + 1, column) not in chosen:
            path.append(f"M{column} {row + 1}h1")
        if (row, column - 1) not in chosen:
            path.append(f"M{column} {row}v1")
        if (row, column + 1) not in chosen:
            path.append(f"M{column + 1} {row}v1")
    return "".join(path)


def heat_over(values: Float32[np.ndarray, " token"], highest: float, size: int, what: str) -> HeatmapView:
    """Draws one value per token, CLS first; zero is transparent, and `highest` has the strongest color."""
    cls, patches = float(values[0]), values[1:].tolist()
    return HeatmapView(steps(patches, highest, size), _words(cls, patches, size, what))


def steps(patches: Sequence[float], highest: float, size: int) -> list[tuple[int, str]]:
    """Returns the patches of each color as one path."""
    found: dict[int, list[str]] = {}
    for at, value in enumerate(patches):
        if value > 0:
            path = found.setdefault(heat(fraction(value, highest)), [])
            path.append(f"M{at % size} {at // size}h1v1h-1z")
    return [(step, "".join(path)) for step, path in sorted(found.items())]


def _words(cls: float, patches: Sequence[float], size: int, what: str) -> str:
    firing = sum(value > 0 for value in patches)
    at_cls = f"; at CLS {significant(cls)}"
    if not firing:
        return f"{what} fires at no patch{at_cls}"
    peak = max(range(len(patches)), key=patches.__getitem__)
    where = f"row {peak // size}, column {peak % size}: {significant(patches[peak])}"
    return f"{what}: highest at {where}; above zero at {firing} of {len(patches)} patches{at_cls}"
