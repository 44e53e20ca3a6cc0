"""The DuckDB databases of an index, opened so that a query can read them and do nothing else.

Knows how to query safely and from many threads; `reader` knows which queries.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from scopeview.errors import DamagedError
from scopeview.store.duckdb_paths import quoted
from scopeview.store.schema import DESCRIBED_TABLES

# Said on opening; the rest once the files are attached, which needs the file system. Nothing is spilled.
_BOUNDED: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "temp_directory": ""}
_INDEX = "scope"
_CLOSED = "SET enable_external_access = false; SET lock_configuration = true"

_UNREADABLE = (duckdb.IOException, duckdb.FatalException, duckdb.SerializationException)
"""The errors that DuckDB raises for a missing block, and after that for every query. For a block with a wrong
checksum, it raises an error of an unspecific type."""


class Database:
    """An index's database and the database of its descriptions. Any number of threads may share it.

    In SQL, the index's tables have their own names, those of the descriptions are `described.NAME`; the
    latter are empty if the index was not described.
    """

    def __init__(self, path: Path, described: Path | None = None, *, memory_mb: int | None = None) -> None:
        """Opens the databases. Raises `DamagedError` if a file is missing or not a database.

        `memory_mb` bounds the memory for cached blocks and for queries; None: most of the machine's.
        """
        bounds = _BOUNDED if memory_mb is None else {**_BOUNDED, "memory_limit": f"{memory_mb}MB"}
        self._connection = duckdb.connect(":memory:", config=bounds)
        try:
            _attach(self._connection, path, _INDEX)
            if described is None:
                self._connection.execute(f"ATTACH ':memory:' AS described; {DESCRIBED_TABLES}")
            else:
                _attach(self._connection, described, "described")
            self._connection.execute(_CLOSED)
        except BaseException:
            self._connection.close()
            raise
        self._names = " or ".join(each.name for each in (path, described) if each is not None)
        self._local = threading.local()
        self._opening = threading.Lock()

    def rows(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Returns all rows of a query with `$name` parameters."""
        with self._asking():
            return self._cursor().execute(sql, values or {}).fetchall()

    def columns(
        self, sql: str, values: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Returns the result of a query by column; a column with NULLs is a masked array."""
        with self._asking():
            found: dict[str, Any] = self._cursor().execute(sql, values or {}).fetchnumpy()
            return found

    def table(self, sql: str, values: dict[str, Any] | None = None) -> Any:
        """Returns the result of a query with `$name` parameters as a `pyarrow.Table`."""
        with self._asking():
            return self._cursor().sql(sql, params=values).to_arrow_table()

    def one(self, sql: str, values: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """Returns the first row of a query that always has one."""
        return self.rows(sql, values)[0]

    def close(self) -> None:
        self._local = threading.local()  # lets go of every thread's cursor, which would keep the file open
        with self._opening:
            self._connection.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with interruptible():
            try:
                yield
            except duckdb.Error as error:
                if isinstance(error, _UNREADABLE) or type(error) is duckdb.Error:
                    raise DamagedError(f"{self._names} cannot be read: {_first_line(error)}") from error
                raise

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        # A connection shared by threads can answer with another thread's rows; a cursor a thread cannot.
        if not hasattr(self._local, "cursor"):
            with self._opening:  # the connection refuses a thread while it opens a cursor for another
                self._local.cursor = self._connection.cursor()
            self._local.cursor.execute(f"USE {_INDEX}")
        cursor: duckdb.DuckDBPyConnection = self._local.cursor
        return cursor


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    if not path.is_file():
        raise DamagedError(f"{path} is missing, though the manifest names it; rebuild the index")
    try:
        if path.stat().st_size == 0:  # which DuckDB would take for a database without tables
            raise duckdb.Error("it is empty")
        connection.execute(f"ATTACH {quoted(path)} AS {name} (READ_ONLY)")
    except duckdb.Error as error:
        raise DamagedError(
            f"{path} is not a readable DuckDB database ({error}); rebuild the index"
        ) from error


@contextmanager
def interruptible() -> Iterator[None]:
    """Turns the `RuntimeError` that DuckDB raises on Ctrl-C back into `KeyboardInterrupt`."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise
