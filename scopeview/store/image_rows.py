"""The rows of `images` in memory, for those who ask for twenty at random all day: a server.

A query takes milliseconds for that: each of twenty random rows lies in a block of its own, to be unpacked
whole. Half a million rows take some 70 MB.
"""

from typing import Any

from scopeview.store.records import ImageRow
from scopeview.store.schema import IMAGE_COLUMNS

ALL_ROWS = f"SELECT {IMAGE_COLUMNS} FROM images ORDER BY image_id"
MOST = 4_000_000
"""Beyond so many images they are asked for one by one."""


class ImageRows:
    """By image id, which counts from 0 without gaps."""

    def __init__(self, table: Any) -> None:
        """`table`: the answer to `ALL_ROWS` as a `pyarrow.Table`."""
        self._columns = [column.combine_chunks() for column in table.columns]

    def __len__(self) -> int:
        return len(self._columns[0])

    def __getitem__(self, image_id: int) -> ImageRow:
        return ImageRow(*[column[image_id].as_py() for column in self._columns])
