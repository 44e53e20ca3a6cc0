"""Paths in a form that DuckDB takes as one file, whatever characters they hold.

DuckDB interprets paths. Its readers take `*`, `?` and `[` for a pattern, so that `run[1]/x.parquet` is read
from `run1`. In a database's path a backslash becomes a `/`, and a `?` moves its log; `name=value` becomes a
column, and `md:` or `~` at the beginning of a relative path has yet another meaning. The rules differ by
statement and no escape serves them all, so a folder whose path holds anything but plain characters is passed
as a link with a plain name. For databases only `ATTACH` follows a link; use `duckdb.connect` only for those
in memory.
"""

import atexit
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import duckdb

from scopeview.errors import ScopeviewError

_PLAIN = re.compile(r"/[\w./ +-]*")
"""An allowlist, since DuckDB may interpret further characters."""


def duckdb_path(path: Path) -> str:
    """The path as text in which DuckDB finds nothing to interpret."""
    folder = path.parent.absolute()
    return str((folder if _is_plain(folder) else _link(folder)) / path.name)


def quoted(path: Path) -> str:
    """The path of `duckdb_path` as an SQL string."""
    return "'" + duckdb_path(path).replace("'", "''") + "'"


def attach_new(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Attaches a new database in that file; it is complete once detached.

    It is written without a log: an interrupted build starts over anyway, and DuckDB would derive the log's
    place from the path.
    """
    connection.execute("SET auto_checkpoint_skip_wal_threshold = 0; SET wal_autocheckpoint = '0B'")
    connection.execute(f"ATTACH {quoted(path)} AS {name}")


def _is_plain(path: Path) -> bool:
    return _PLAIN.fullmatch(str(path)) is not None


@cache
def _link(folder: Path) -> Path:
    """A link to the folder that exists until the process ends."""
    link = Path(tempfile.mkdtemp(dir=_links())) / "folder"
    link.symlink_to(folder, target_is_directory=True)
    return link


@cache
def _links() -> Path:
    """This process's folder of links. Raises `ScopeviewError` if it cannot be created."""
    try:
        links = Path(tempfile.mkdtemp(prefix="scopeview-"))
    except OSError as error:
        raise ScopeviewError(
            f"no temporary folder can be made ({error}); the index's path holds characters that DuckDB would"
            " interpret, and is handed to it as a link there: set TMPDIR, or rename the index's folder"
        ) from error
    atexit.register(shutil.rmtree, links, ignore_errors=True)
    if not _is_plain(links):
        raise ScopeviewError(
            f"DuckDB would interpret characters of the temporary folder {links}; set TMPDIR to one"
            " of letters, digits, '.', '_' and '-'"
        )
    return links
