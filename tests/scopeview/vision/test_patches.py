"""Token numbers, grid cells and pixel boxes agree with each other and with the suite's own numbering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.vision.patches import (
    Box,
    GridCell,
    box_of,
    cell_of,
    center_token,
    n_tokens,
    token_at,
    token_of,
)


@pytest.mark.parametrize(("grid", "token"), [(1, 1), (2, 4), (7, 25), (14, 106), (16, 137), (24, 301)])
def test_the_patch_in_the_middle(grid: int, token: int) -> None:
    assert center_token(grid) == token


def test_token_137_is_row_8_column_8_of_16() -> None:
    assert n_tokens(16) == 257
    assert cell_of(137, 16) == GridCell(8, 8)
    assert box_of(137, 16, 14) == Box(112, 112, 126, 126)


def test_the_corners() -> None:
    assert cell_of(1, 16) == GridCell(0, 0)
    assert cell_of(16, 16) == GridCell(0, 15)
    assert cell_of(17, 16) == GridCell(1, 0)
    assert box_of(256, 16, 14) == Box(210, 210, 224, 224)


@given(st.integers(1, 40), st.integers(1, 32), st.data())
def test_cell_and_pixel_lead_back_to_the_token(grid: int, patch_px: int, data: st.DataObject) -> None:
    token = data.draw(st.integers(1, grid * grid))
    assert token_of(cell_of(token, grid), grid) == token
    box = box_of(token, grid, patch_px)
    assert token_at(box.left, box.top, grid, patch_px) == token
    assert token_at(box.right - 1, box.bottom - 1, grid, patch_px) == token


@pytest.mark.parametrize("token", [0, -1, 257])
def test_a_token_that_is_no_patch_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=r"1 to 256"):
        cell_of(token, 16)


@pytest.mark.parametrize("cell", [GridCell(-1, 0), GridCell(0, 16), GridCell(16, 0)])
def test_a_cell_outside_the_grid_is_refused(cell: GridCell) -> None:
    with pytest.raises(ValueError, match="outside"):
        token_of(cell, 16)
