"""The DuckDB database of an index, opened so that a query can read it and do nothing else.

Knows how to ask safely and from many threads; what to ask is `reader`'s to know.
"""

import threading
from pathlib import Path
from typing import Any

import duckdb

from scopeview.errors import IndexFormatError
from scopeview.store.interrupt import interruptible

# A read-only database may still read and write other files unless this is shut. All of it is said on opening:
# a program that opens an index twice gets the same database again, and its settings are locked by then.
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "enable_external_access": False,
    "lock_configuration": True,
}


class Database:
    """One open database file. May be shared by any number of threads."""

    def __init__(self, path: Path) -> None:
        """Raises `IndexFormatError` when the file is missing or no database."""
        self._connection = _connect(path)
        self._local = threading.local()

    def rows(self, sql: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query with `$name` parameters."""
        with interruptible():
            return self._cursor().execute(sql, values or {}).fetchall()

    def one(self, sql: str, values: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """The first row of a query that always has one."""
        return self.rows(sql, values)[0]

    def close(self) -> None:
        self._local = threading.local()  # lets go of every thread's cursor, which would keep the file open
        self._connection.close()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        # A connection shared by threads can answer with another thread's rows; a cursor a thread cannot.
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        cursor: duckdb.DuckDBPyConnection = self._local.cursor
        return cursor


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    if not path.is_file():
        raise IndexFormatError(f"{path} is missing, though the manifest names it; rebuild the index")
    try:
        return duckdb.connect(str(path), read_only=True, config=_CLOSED)
    except duckdb.Error as error:
        raise IndexFormatError(
            f"{path} is not a readable DuckDB database ({error}); rebuild the index"
        ) from error
