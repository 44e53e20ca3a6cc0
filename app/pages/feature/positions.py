"""The patches at which a feature reaches its maximum, over the whole index. Pure."""

from dataclasses import dataclass

from app.formatting import fraction, heat
from app.services.feature_details import FeatureDetails
from app.state import OpenIndex
from scopeview.slots import ANY, EMBED
from scopeview.vision.patches import GridCell


@dataclass(frozen=True)
class PositionsView:
    """Images by the patch at which the feature's maximum over all tokens lies."""

    grid: int  # patches on a side
    rows: list[list[int]]  # images by row and column from the top left
    at_cls: int | None
    n_images: int  # on which it fires at any token: those at a patch and those at CLS
    differs: bool  # whether the page's own token counts other images
    n_patches: int  # images whose maximum is at some patch
    peak: GridCell | None  # the fullest cell; None where all are empty
    highest: int  # images there
    paths: list[tuple[int, str]]  # (step of the activation colors, the cells that wear it as an SVG path)


def positions(index: OpenIndex, details: FeatureDetails) -> PositionsView | None:
    """Returns the positions; None if unknown: `why_no_positions` says why."""
    if details.description is None or details.description.positions is None:
        return None
    grid = index.manifest.model.grid_size
    counts = details.description.positions
    highest = max(counts, default=0)
    return PositionsView(
        grid=grid,
        rows=[counts[start : start + grid] for start in range(0, len(counts), grid)],
        at_cls=details.description.at_cls,
        n_images=sum(counts) + (details.description.at_cls or 0),
        differs=details.slot.token != ANY,
        n_patches=sum(counts),
        peak=GridCell(*divmod(counts.index(highest), grid)) if highest else None,
        highest=highest,
        paths=_paths(counts, grid, highest),
    )


def why_no_positions(index: OpenIndex, details: FeatureDetails) -> str:
    """Returns the reason, in words for a visitor."""
    if details.slot.layer == EMBED:
        return "The embedding is one vector for the whole image, without patches."
    if ANY not in index.tokens(details.slot.layer):
        return "Unknown: this index was built without the token any."
    return "Unknown: positions were not computed for this index."


def _paths(counts: list[int], grid: int, highest: int) -> list[tuple[int, str]]:
    """Returns the cells of each color. Leaves out cells without an image: they show the background."""
    cells: dict[int, list[str]] = {}
    for patch, count in enumerate(counts):
        if count:
            row, column = divmod(patch, grid)
            cells.setdefault(heat(fraction(count, highest)), []).append(f"M{column} {row}h1v1h-1z")
    return [(step, "".join(found)) for step, found in sorted(cells.items())]
