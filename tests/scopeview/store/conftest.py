"""A small index written by hand, the dense tables it was written from, and a reader of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree

import duckdb
import pytest

from scopeview.store.manifest import read_manifest
from scopeview.store.reader import IndexReader
from tests.app.index import SmallIndex, write_index

Changed = Callable[[str], Path]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallIndex:
    return write_index(tmp_path_factory.mktemp("indexes") / "tiny")


@pytest.fixture(scope="session")
def reader(small: SmallIndex) -> Iterator[IndexReader]:
    with IndexReader(small.index_dir) as reader:
        yield reader


@pytest.fixture
def changed(small: SmallIndex, tmp_path: Path) -> Changed:
    """A copy of the index, its database changed by an SQL statement."""

    def change(sql: str) -> Path:
        copy = copytree(small.index_dir, tmp_path / "index")
        with duckdb.connect(str(copy / read_manifest(copy).database)) as connection:
            connection.execute(sql)
        return copy

    return change
