"""Where a token is in the image: token numbers, grid cells, boxes of pixels. Knows no model and no image.

Token 0 is CLS and has no place. Token t >= 1 is patch t - 1 of a square grid, row by row from the top left:
on a 16 x 16 grid, token 137 is patch 136 = row 8, column 8.
"""

from typing import NamedTuple


class GridCell(NamedTuple):
    """A patch's place on the grid, both 0-based; row 0 is the top."""

    row: int
    column: int


class Box(NamedTuple):
    """Edges in pixels of the model's input, right and bottom exclusive (Pillow's order)."""

    left: int
    top: int
    right: int
    bottom: int


def n_tokens(grid: int) -> int:
    """The number of tokens: CLS and the `grid` x `grid` patches."""
    return grid * grid + 1


def cell_of(token: int, grid: int) -> GridCell:
    """The grid cell of a token. Raises `ValueError` for CLS and for tokens past the grid."""
    if not 1 <= token < n_tokens(grid):
        raise ValueError(f"token {token} is not a patch of a {grid} x {grid} grid (1 to {grid * grid})")
    return GridCell(*divmod(token - 1, grid))


def token_of(cell: GridCell, grid: int) -> int:
    """The inverse of `cell_of`. Raises `ValueError` for a cell outside the grid."""
    if not (0 <= cell.row < grid and 0 <= cell.column < grid):
        raise ValueError(f"cell {tuple(cell)} is outside a {grid} x {grid} grid")
    return cell.row * grid + cell.column + 1


def center_token(grid: int) -> int:
    """The patch in the middle; on a grid of even size, the one below and right of the middle."""
    return token_of(GridCell(grid // 2, grid // 2), grid)


def box_of(token: int, grid: int, patch_px: int) -> Box:
    """The pixels of the token's patch. Raises `ValueError` as `cell_of` does."""
    row, column = cell_of(token, grid)
    left, top = column * patch_px, row * patch_px
    return Box(left, top, left + patch_px, top + patch_px)


def token_at(x_px: int, y_px: int, grid: int, patch_px: int) -> int:
    """The token whose patch contains that pixel. Raises `ValueError` outside the grid."""
    return token_of(GridCell(y_px // patch_px, x_px // patch_px), grid)
