"""Paths as DuckDB takes them: as one file, whatever characters they hold.

DuckDB interprets a path. Its readers take `*`, `?` and `[` for a pattern, so that `run[1]/x.parquet` is read
from `run1`; a database's `\\` becomes a `/`, and a `?` moves its log; `name=value` becomes a column, and
`md:` or `~` at the beginning of a relative path something else again. The rules differ by statement and no
escape serves them all, so a folder whose path holds anything but plain characters is handed over as a link
with a plain name. Of databases only `ATTACH` follows a link; `duckdb.connect` is for those in memory.
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
"""An allowlist, since DuckDB may give meaning to further characters."""


def duckdb_path(path: Path) -> str:
    """The path as text in which DuckDB finds nothing to interpret."""
    folder = path.parent.absolute()
    return str((folder if _is_plain(folder) else _link(folder)) / path.name)


def quoted(path: Path) -> str:
    """The same as a string of SQL."""
    return "'" + duckdb_path(path).replace("'", "''") + "'"


def attach_new(connection: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """A new database in that file, whole once it is detached.

    It is written without a log: one that breaks off is begun anew, and where the log would lie is worked out
    from the path.
    """
    connection.execute("SET auto_checkpoint_skip_wal_threshold = 0; SET wal_autocheckpoint = '0B'")
    connection.execute(f"ATTACH {quoted(path)} AS {name}")


def _is_plain(path: Path) -> bool:
    return _PLAIN.fullmatch(str(path)) is not None


@cache
def _link(folder: Path) -> Path:
    """A link to the folder, until the process ends."""
    link = Path(tempfile.mkdtemp(dir=_links())) / "folder"
    link.symlink_to(folder, target_is_directory=True)
    return link


@cache
def _links() -> Path:
    """This process's folder of links. Raises `ScopeviewError` where there is no place for one."""
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
