"""The rows of `images` in memory, for those who ask for twenty at random all day: a server.

A query takes milliseconds for that: each of twenty random rows lies in a block of its own, to be unpacked
whole. Half a million rows take some 70 MB.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from scopeview.store.records import ImageRow
from scopeview.store.schema import SHOWN_COLUMNS

ALL_ROWS = f"SELECT {SHOWN_COLUMNS} FROM images ORDER BY image_id"
MAX_ROWS_IN_MEMORY = 4_000_000
"""Beyond so many images they are asked for one by one."""


class ImageRows:
    """By image id, which counts from 0 without gaps."""

    def __init__(self, table: Any) -> None:
        """`table`: the answer to `ALL_ROWS` as a `pyarrow.Table`."""
        (self._rows,) = table.combine_chunks().to_batches() or [None]

    def __len__(self) -> int:
        return 0 if self._rows is None else int(self._rows.num_rows)

    def rows(self, image_ids: Sequence[int]) -> list[ImageRow]:
        """In the order of the ids. Column by column: a value at a time costs ten times as much."""
        if not image_ids:
            return []
        found = self._rows.take(pa.array(image_ids, pa.int64()))
        columns = [column.to_pylist() for column in found.columns]
        return [ImageRow(*row) for row in zip(*columns, strict=True)]
