"""Rows of features: what is packed comes out, and what is not there is asked of the databases."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scopeview.errors import IndexFormatError
from scopeview.slots import Slot
from scopeview.store.feature_rows import (
    SECTIONS,
    Described,
    FeatureRow,
    FeatureStatistics,
    Placed,
    Sampled,
    open_rows,
    packed,
    slot_rows,
)
from scopeview.store.pack import write_pack
from scopeview.store.records import Neighbor


def row(**sections: list[Any] | str) -> FeatureRow:
    return FeatureRow(
        packed(
            {
                name: values.encode()
                if isinstance(values, str)
                else struct.pack(f"<{len(values)}{SECTIONS[name]}", *values)
                for name, values in sections.items()
            }
        )
    )


def test_a_row_says_what_was_packed() -> None:
    found = row(
        n_active=[3],
        sum=[0.1],
        max=[0.5],
        histogram=[2, 0, 1],
        top_images=[70_000, 4, 5],
        top_values=[0.5, 0.25, 0.125],
        top_positions=[256, 0, 1],
        names="red heart\nمرحبا",
        name_scores=[0.5, 0.25],
        folds=[1, 1, 3],
        clarity=[float("nan")],
        x=[0.0],
        y=[1.0],
        positions=[0, 3],
        at_cls=[0],
        selectivity=[1.0],
        in_interval=[1, 0, 2],
        sample_images=[9, 8, 7],
        sample_values=[0.5, 0.25, 0.125],
        sample_positions=[1, 2, 3],
    )
    values = [0.5, 0.25, 0.125]
    assert found.figures() == FeatureStatistics(3, 0.1, 0.5, [2, 0, 1], [70_000, 4, 5], values, [256, 0, 1])
    described = found.described()
    assert described.names == ["red heart", "مرحبا"]
    assert described.clarity is not None
    assert np.isnan(described.clarity), "a figure that failed is not one that is absent"
    assert described._replace(clarity=None) == Described(
        ["red heart", "مرحبا"], [0.5, 0.25], None, None, [1, 1, 3], 0.0, 1.0
    )
    assert found.placed() == Placed([0, 3], 0, 1.0)
    assert found.sampled() == Sampled([1, 0, 2], [9, 8, 7], values, [1, 2, 3])


def test_neighbors_come_list_by_list() -> None:
    found = row(
        near_kind=[0, 2],
        near_layer=[1, 0],
        near_n=[2, 1],
        near_feature=[7, 65_535, 0],
        near_score=[0.5, 0.25, 1.0],
    )
    assert found.neighbors([3, "embed"]) == [
        Neighbor("decoder", "embed", 7, 0.5),
        Neighbor("decoder", "embed", 65_535, 0.25),
        Neighbor("vector", 3, 0, 1.0),
    ]


def test_what_has_no_values_is_none_or_an_empty_list() -> None:
    found = row(n_active=[0], sum=[0.0])
    assert found.figures() == FeatureStatistics(0, 0.0, None, [], [], [], None)
    assert found.described() == Described([], [], None, None, [], None, None)
    assert found.placed() == Placed(None, None, None)
    assert found.neighbors([]) == []


def test_only_whole_packs_are_opened_and_damaged_ones_named(tmp_path: Path) -> None:
    slots = [Slot(3, "cls"), Slot(3, "any"), Slot(5, "cls")]
    paths = [slot_rows(tmp_path, "described-0abc.duckdb", slot) for slot in slots]
    assert paths[0] == tmp_path / "rows-2-0abc" / "3-cls.pack"
    write_pack(paths[0], [packed({"n_active": b"\1\0\0\0"}), None])
    paths[1].write_bytes(b"unfinished")
    rows = open_rows(tmp_path, "described-0abc.duckdb", slots)
    assert list(rows) == [slots[0]]
    first = rows[slots[0]].row(0)
    assert first is not None
    assert first.figures().n_active == 1
    assert rows[slots[0]].row(1) is None, "a feature that the database lacks"
    paths[0].write_bytes(b"")
    with pytest.raises(IndexFormatError, match=r"remove .*rows-2-0abc, and 'scopeview describe'"):
        open_rows(tmp_path, "described-0abc.duckdb", slots)
